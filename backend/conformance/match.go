package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pay-theory/streamer/backend/internal/jsonscan"
)

// rest is the key, or the last element, that allows more.
const rest = "..."

// match returns why a value is not what a pattern asks for, or nil. Names that
// the pattern uses for the first time are bound if all of it matches.
func (b *bindings) match(pattern, value json.RawMessage) error {
	try := b.clone()
	if err := try.matchAt("", pattern, value); err != nil {
		return err
	}
	b.values = try.values
	return nil
}

// mismatch says where a value differs, and how.
func mismatch(path, format string, args ...any) error {
	why := fmt.Sprintf(format, args...)
	if path != "" {
		why = path + ": " + why
	}
	return errors.New(why)
}

func (b *bindings) matchAt(path string, pattern, value json.RawMessage) error {
	text := stringOf(pattern)
	if name, ok := variable(text); ok {
		return b.matchName(path, name, value)
	}
	if strings.HasPrefix(text, "$$") {
		return matchValue(path, encode(text[1:]), value)
	}
	if name, arg, ok := operator(pattern); ok {
		return b.matchOperator(path, name, arg, value)
	}
	switch kindOf(pattern) {
	case "object":
		return b.matchObject(path, members(pattern), value)
	case "array":
		return b.matchArray(path, elements(pattern), value)
	}
	return matchValue(path, pattern, value)
}

func matchValue(path string, want, value json.RawMessage) error {
	if !equalJSON(want, value) {
		return mismatch(path, "expected %s, came %s", brief(want), brief(value))
	}
	return nil
}

// matchName handles $any, $absent and variables.
func (b *bindings) matchName(path, name string, value json.RawMessage) error {
	switch name {
	case "any":
		return nil
	case "absent":
		return mismatch(path, "must be absent, is %s", brief(value))
	}
	bound, ok := b.lookup(name)
	if !ok {
		b.values[name] = bytes.Clone(value)
		return nil
	}
	if !equalJSON(bound, value) {
		return mismatch(path, "expected %s, to which $%s is bound, came %s", brief(bound), name, brief(value))
	}
	return nil
}

func (b *bindings) matchObject(path string, pattern []member, value json.RawMessage) error {
	var left map[string]json.RawMessage // the fields that no pattern was for yet
	if kindOf(value) != "object" || json.Unmarshal(value, &left) != nil {
		return mismatch(path, "expected an object, came %s", brief(value))
	}
	open := false
	for _, m := range pattern {
		field, present := left[m.key]
		at := path + "." + m.key
		switch {
		case m.key == rest:
			open = true
		case !present && !isOptional(m.value):
			return mismatch(at, "is absent, expected %s", brief(m.value))
		case present:
			if err := b.matchAt(at, m.value, field); err != nil {
				return err
			}
			delete(left, m.key)
		}
	}
	for _, m := range members(value) {
		if _, ok := left[m.key]; ok && !open {
			return mismatch(path+"."+m.key, "was not expected, is %s", brief(m.value))
		}
	}
	return nil
}

// isOptional reports whether a field with this pattern may be absent.
func isOptional(pattern json.RawMessage) bool {
	name, _, _ := operator(pattern)
	return name == "$optional" || stringOf(pattern) == "$absent"
}

func (b *bindings) matchArray(path string, pattern []json.RawMessage, value json.RawMessage) error {
	if kindOf(value) != "array" {
		return mismatch(path, "expected an array, came %s", brief(value))
	}
	list := elements(value)
	open := len(pattern) > 0 && stringOf(pattern[len(pattern)-1]) == rest
	if open {
		pattern = pattern[:len(pattern)-1]
	}
	for i, e := range pattern {
		at := fmt.Sprintf("%s[%d]", path, i)
		if i >= len(list) {
			return mismatch(at, "is absent, expected %s", brief(e))
		}
		if err := b.matchAt(at, e, list[i]); err != nil {
			return err
		}
	}
	if len(list) > len(pattern) && !open {
		return mismatch(fmt.Sprintf("%s[%d]", path, len(pattern)), "was not expected, is %s", brief(list[len(pattern)]))
	}
	return nil
}

func (b *bindings) matchOperator(path, name string, arg, value json.RawMessage) error {
	kind := kindOf(value)
	switch name {
	case "$any":
		if want := stringOf(arg); kind != want && (want != "number" || kind != "integer") {
			return mismatch(path, "expected any %s, came %s", want, brief(value))
		}
	case "$oneOf":
		if !slices.ContainsFunc(elements(arg), func(choice json.RawMessage) bool { return b.match(choice, value) == nil }) {
			return mismatch(path, "expected one of %s, came %s", brief(arg), brief(value))
		}
	case "$between":
		return b.matchBetween(path, elements(arg), value)
	case "$contains":
		if kind != "string" || !strings.Contains(stringOf(value), stringOf(arg)) {
			return mismatch(path, "expected a text with %s in it, came %s", arg, brief(value))
		}
	case "$length":
		length := len(stringOf(value)) + len(elements(value)) // one of them is 0
		if kind != "string" && kind != "array" {
			return mismatch(path, "expected a text or an array, came %s", brief(value))
		}
		return b.matchAt(path+" (its length)", arg, encode(length))
	case "$raw":
		if want := stringOf(arg); string(bytes.TrimSpace(value)) != want {
			return mismatch(path, "expected the bytes %s, came %s", want, brief(value))
		}
	case "$optional":
		return b.matchAt(path, arg, value)
	case "$times":
		return b.matchArray(path, repeated(arg), value)
	default:
		want, err := b.compute(name, arg)
		if err != nil {
			return mismatch(path, "the pattern is wrong: %v", err)
		}
		return matchValue(path, want, value)
	}
	return nil
}

func (b *bindings) matchBetween(path string, bounds []json.RawMessage, value json.RawMessage) error {
	low, errLow := b.integer(bounds[0])
	high, errHigh := b.integer(bounds[1])
	if err := errors.Join(errLow, errHigh); err != nil {
		return mismatch(path, "the pattern is wrong: %v", err)
	}
	if kind := kindOf(value); kind != "integer" && kind != "number" {
		return mismatch(path, "expected a number, came %s", brief(value))
	}
	decimal := func(text json.RawMessage) jsonscan.Decimal { return jsonscan.ParseDecimal(string(text)) }
	n := decimal(value)
	if n.Compare(decimal(encode(low))) < 0 || n.Compare(decimal(encode(high))) > 0 {
		return mismatch(path, "expected %d to %d, came %s", low, high, value)
	}
	return nil
}
