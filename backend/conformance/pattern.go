package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// bindings holds what a transcript's names stand for while it is played: ids,
// which are made when they are first used, and what patterns have bound.
type bindings struct {
	values map[string]json.RawMessage
	// ids holds, for ids that are not made yet, how many milliseconds from now
	// their times are.
	ids map[string]int64
	now func() time.Time
	// token makes a token of an identity; nil: there are none.
	token func(identity string) (string, error)
}

func newBindings(ids map[string]int64, now func() time.Time) *bindings {
	return &bindings{values: map[string]json.RawMessage{}, ids: ids, now: now}
}

// clone returns a copy to try a pattern with.
func (b *bindings) clone() *bindings {
	c := *b
	c.values = maps.Clone(b.values)
	return &c
}

// lookup returns a name's value. An id is made when it is first asked for.
func (b *bindings) lookup(name string) (json.RawMessage, bool) {
	if v, ok := b.values[name]; ok {
		return v, true
	}
	offset, ok := b.ids[name]
	if !ok {
		return nil, false
	}
	b.values[name] = encode(wire.NewIDAt(b.now().Add(time.Duration(offset) * time.Millisecond)))
	return b.values[name], true
}

// expand replaces names and operators by their values.
func (b *bindings) expand(n json.RawMessage) (json.RawMessage, error) {
	text := stringOf(n)
	if name, ok := variable(text); ok {
		value, bound := b.lookup(name)
		if !bound {
			return nil, fmt.Errorf("nothing is bound to $%s", name)
		}
		return value, nil
	}
	if strings.HasPrefix(text, "$$") {
		return encode(text[1:]), nil
	}
	if name, arg, ok := operator(n); ok {
		return b.compute(name, arg)
	}
	return replaceMembers(n, b.expand)
}

// compute returns the value of an operator. Its argument was checked when the
// transcript was read.
func (b *bindings) compute(name string, arg json.RawMessage) (json.RawMessage, error) {
	switch name {
	case "$raw":
		return json.RawMessage(stringOf(arg)), nil
	case "$plus":
		var sum int64
		for _, term := range elements(arg) {
			n, err := b.integer(term)
			if err != nil {
				return nil, err
			}
			sum += n
		}
		return encode(sum), nil
	case "$token":
		if b.token == nil {
			return nil, errors.New("$token is for transcripts that test servers")
		}
		token, err := b.token(stringOf(arg))
		if err != nil {
			return nil, fmt.Errorf("no token for %s: %w", arg, err)
		}
		return encode(token), nil
	case "$repeat":
		text, n, _ := repetition(arg)
		return encode(strings.Repeat(stringOf(text), n)), nil
	case "$times":
		return b.expand(encodeArray(repeated(arg)))
	}
	return nil, fmt.Errorf("%s cannot be sent; it is for patterns only", name)
}

// repetition reads [what, n].
func repetition(arg json.RawMessage) (what json.RawMessage, n int, ok bool) {
	pair := elements(arg)
	if len(pair) != 2 {
		return nil, 0, false
	}
	count, ok := integerOf(pair[1])
	return pair[0], int(count), ok && count >= 0 && count <= 1<<20
}

// repeated returns what, n times, for [what, n].
func repeated(arg json.RawMessage) []json.RawMessage {
	what, n, _ := repetition(arg)
	return slices.Repeat([]json.RawMessage{what}, n)
}

// integer returns the value of a number, of the name of one, or of a sum.
func (b *bindings) integer(term json.RawMessage) (int64, error) {
	value, err := b.expand(term)
	if err != nil {
		return 0, err
	}
	n, ok := integerOf(value)
	if !ok {
		return 0, fmt.Errorf("expected an integer, got %s", brief(value))
	}
	return n, nil
}

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
		case kind == "array", name != "$optional" && stringOf(m.value) != "$absent":
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
	var n float64
	if kind := kindOf(value); kind != "integer" && kind != "number" || json.Unmarshal(value, &n) != nil {
		return mismatch(path, "expected a number, came %s", brief(value))
	}
	if n < float64(low) || n > float64(high) {
		return mismatch(path, "expected %d to %d, came %s", low, high, value)
	}
	return nil
}
