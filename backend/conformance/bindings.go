package conformance

import (
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
