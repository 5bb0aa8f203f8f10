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
	if kind := kindOf(pattern); kind == "object" || kind == "array" {
		return b.matchMembers(path, pattern, value)
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

// matchMembers matches an object field by field, an array element by element.
func (b *bindings) matchMembers(path string, pattern, value json.RawMessage) error {
	kind := kindOf(pattern)
	if kindOf(value) != kind {
		return mismatch(path, "expected an %s, came %s", kind, brief(value))
	}
	if kind == "object" {
		path += "."
	}
	came, left := members(value), map[string]json.RawMessage{}
	for _, m := range came {
		left[m.key] = m.value
	}
	list, open := members(pattern), false
	for i, m := range list {
		field, present := left[m.key]
		name, _, _ := operator(m.value)
		switch at := path + m.key; {
		case m.key == rest, kind == "array" && i == len(list)-1 && stringOf(m.value) == rest:
			open = true
		case present:
			if err := b.matchAt(at, m.value, field); err != nil {
				return err
			}
			delete(left, m.key)
		case name != "$optional" && stringOf(m.value) != "$absent":
			return mismatch(at, "is absent, expected %s", brief(m.value))
		}
	}
	for _, m := range came {
		if _, ok := left[m.key]; ok && !open {
			return mismatch(path+m.key, "was not expected, is %s", brief(m.value))
		}
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
		return b.matchMembers(path, encodeArray(repeated(arg)), value)
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
