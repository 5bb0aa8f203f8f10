package conformance

import (
	"encoding/json"
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
	ids   map[string]int64
	now   func() time.Time
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
	v := encode(wire.NewIDAt(b.now().Add(time.Duration(offset) * time.Millisecond)))
	b.values[name] = v
	return v, true
}

// expand replaces names and operators by their values.
func (b *bindings) expand(n json.RawMessage) (json.RawMessage, error) {
	switch kindOf(n) {
	case "string":
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
	case "array":
		list := elements(n)
		for i := range list {
			var err error
			if list[i], err = b.expand(list[i]); err != nil {
				return nil, err
			}
		}
		return encodeArray(list), nil
	case "object":
		if name, arg, ok := operator(n); ok {
			return b.compute(name, arg)
		}
		fields := members(n)
		for i := range fields {
			var err error
			if fields[i].value, err = b.expand(fields[i].value); err != nil {
				return nil, err
			}
		}
		return encodeObject(fields), nil
	}
	return n, nil
}

// compute returns the value of an operator. Its argument was checked when the
// transcript was read.
func (b *bindings) compute(name string, arg json.RawMessage) (json.RawMessage, error) {
	switch name {
	case "$raw":
		return json.RawMessage(stringOf(arg)), nil
	case "$plus":
		sum, err := b.evaluateSum(arg)
		return encode(sum), err
	case "$token":
		if b.token == nil {
			return nil, fmt.Errorf("%s is for transcripts that test servers", name)
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
		return b.expand(repeated(arg))
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

// repeated returns an array that holds what n times, for [what, n].
func repeated(arg json.RawMessage) json.RawMessage {
	what, n, _ := repetition(arg)
	return encodeArray(slices.Repeat([]json.RawMessage{what}, n))
}

// evaluateSum adds up a list of numbers and of names of numbers.
func (b *bindings) evaluateSum(arg json.RawMessage) (sum int64, err error) {
	for _, term := range elements(arg) {
		n, err := b.integer(term)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
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
