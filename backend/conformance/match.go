package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	want := pattern
	switch kindOf(pattern) {
	case "object":
		if name, arg, ok := operator(pattern); ok {
			return b.matchOperator(path, name, arg, value)
		}
		return b.matchObject(path, members(pattern), value)
	case "array":
		return b.matchArray(path, elements(pattern), value)
	case "string":
		text := stringOf(pattern)
		if name, ok := variable(text); ok {
			return b.matchName(path, name, value)
		}
		if strings.HasPrefix(text, "$$") {
			want = encode(text[1:])
		}
	}
	return matchValue(path, want, value)
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
	var fields map[string]json.RawMessage
	if kindOf(value) != "object" || json.Unmarshal(value, &fields) != nil {
		return mismatch(path, "expected an object, came %s", brief(value))
	}
	open := false
	for _, m := range pattern {
		if m.key == rest {
			open = true
			continue
		}
		field, present := fields[m.key]
		delete(fields, m.key)
		at := path + "." + m.key
		name, _, _ := operator(m.value)
		switch optional := name == "$optional" || stringOf(m.value) == "$absent"; {
		case !present && optional:
			continue
		case !present:
			return mismatch(at, "is absent, expected %s", brief(m.value))
		}
		if err := b.matchAt(at, m.value, field); err != nil {
			return err
		}
	}
	for _, m := range members(value) {
		if _, left := fields[m.key]; left && !open {
			return mismatch(path+"."+m.key, "was not expected, is %s", brief(m.value))
		}
	}
	return nil
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
		for _, choice := range elements(arg) {
			if b.match(choice, value) == nil {
				return nil
			}
		}
		return mismatch(path, "expected one of %s, came %s", brief(arg), brief(value))
	case "$between":
		return b.matchBetween(path, elements(arg), value)
	case "$contains":
		if kind != "string" || !strings.Contains(stringOf(value), stringOf(arg)) {
			return mismatch(path, "expected a text with %s in it, came %s", arg, brief(value))
		}
	case "$length":
		switch kind {
		case "string":
			return b.matchAt(path+" (its length)", arg, encode(len(stringOf(value))))
		case "array":
			return b.matchAt(path+" (its length)", arg, encode(len(elements(value))))
		}
		return mismatch(path, "expected a text or an array, came %s", brief(value))
	case "$raw":
		if want := stringOf(arg); string(bytes.TrimSpace(value)) != want {
			return mismatch(path, "expected the bytes %s, came %s", want, brief(value))
		}
	case "$optional":
		return b.matchAt(path, arg, value)
	case "$times":
		return b.matchArray(path, elements(repeated(arg)), value)
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
	var limits [2]int64
	for i, bound := range bounds {
		var err error
		if limits[i], err = b.integer(bound); err != nil {
			return mismatch(path, "the pattern is wrong: %v", err)
		}
	}
	var n float64
	if !slices.Contains([]string{"integer", "number"}, kindOf(value)) || json.Unmarshal(value, &n) != nil {
		return mismatch(path, "expected a number, came %s", brief(value))
	}
	if n < float64(limits[0]) || n > float64(limits[1]) {
		return mismatch(path, "expected %d to %d, came %s", limits[0], limits[1], value)
	}
	return nil
}
