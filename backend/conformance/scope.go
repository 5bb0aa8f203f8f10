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

// scope holds what a transcript's names stand for while it is played: ids that
// are made when they are first used, and what matchers have bound.
type scope struct {
	values map[string]json.RawMessage
	// ids holds how far from now the times of ids lie that are not made yet.
	ids   map[string]time.Duration
	now   func() time.Time
	token func(identity string) (string, error)
}

func newScope(ids map[string]time.Duration, now func() time.Time) *scope {
	return &scope{values: map[string]json.RawMessage{}, ids: ids, now: now}
}

// fork returns a copy to try something on; adopt takes it over.
func (s *scope) fork() *scope {
	c := *s
	c.values = maps.Clone(s.values)
	return &c
}

func (s *scope) adopt(c *scope) { s.values = c.values }

// lookup returns a name's value. An id is made when it is asked for first.
func (s *scope) lookup(name string) (json.RawMessage, bool) {
	if v, ok := s.values[name]; ok {
		return v, true
	}
	offset, ok := s.ids[name]
	if !ok {
		return nil, false
	}
	v := json.RawMessage(appendText(nil, wire.NewIDAt(s.now().Add(offset))))
	s.values[name] = v
	return v, true
}

// variable tells whether a text is $name, and of which name.
func variable(text string) (string, bool) {
	name, ok := strings.CutPrefix(text, "$")
	if !ok || name == "" || strings.HasPrefix(name, "$") {
		return "", false
	}
	return name, true
}

// literal undoes the doubling of a text's leading dollar.
func literal(text string) string {
	if strings.HasPrefix(text, "$$") {
		return text[1:]
	}
	return text
}

// expand replaces names and operators by what they stand for; the result holds
// no operators any more.
func (s *scope) expand(n any) (any, error) {
	switch v := n.(type) {
	case string:
		name, ok := variable(v)
		if !ok {
			return literal(v), nil
		}
		value, ok := s.lookup(name)
		if !ok {
			return nil, fmt.Errorf("nothing is bound to $%s", name)
		}
		return value, nil
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			var err error
			if out[i], err = s.expand(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	case object:
		if name, arg, ok := operator(v); ok {
			return s.generate(name, arg)
		}
		out := make(object, len(v))
		for i, m := range v {
			value, err := s.expand(m.value)
			if err != nil {
				return nil, err
			}
			out[i] = member{m.key, value}
		}
		return out, nil
	}
	return n, nil
}

// generate works out an operator of something sent.
func (s *scope) generate(name string, arg any) (any, error) {
	switch name {
	case "$raw":
		if text, ok := arg.(string); ok {
			return json.RawMessage(text), nil
		}
		return nil, fmt.Errorf("%s takes a text of JSON", name)
	case "$plus":
		sum, err := s.sum(arg)
		if err != nil {
			return nil, err
		}
		return json.Number(fmt.Sprint(sum)), nil
	case "$token":
		text, ok := arg.(string)
		if !ok || s.token == nil {
			return nil, fmt.Errorf("%s takes the name of an identity, in a transcript for servers", name)
		}
		token, err := s.token(text)
		if err != nil {
			return nil, fmt.Errorf("no token for %s: %w", text, err)
		}
		return token, nil
	case "$repeat":
		what, n, err := repetition(arg)
		text, ok := what.(string)
		if err == nil && !ok {
			err = fmt.Errorf("%s takes a text and how often", name)
		}
		return strings.Repeat(text, n), err
	case "$times":
		list, err := times(arg)
		if err != nil {
			return nil, err
		}
		return s.expand(list)
	}
	return nil, fmt.Errorf("%s cannot be sent; it is a matcher, or unknown", name)
}

// repetition reads [what, n].
func repetition(arg any) (what any, n int, err error) {
	pair, ok := arg.([]any)
	if !ok || len(pair) != 2 {
		return nil, 0, errors.New("a repetition is [what, how often]")
	}
	count, ok := integer(pair[1])
	if !ok || count < 0 || count > 1<<20 {
		return nil, 0, fmt.Errorf("a repetition is 0 to %d times", 1<<20)
	}
	return pair[0], int(count), nil
}

// times reads [what, n] as an array that holds it n times.
func times(arg any) ([]any, error) {
	what, n, err := repetition(arg)
	if err != nil {
		return nil, err
	}
	return slices.Repeat([]any{what}, n), nil
}

// sum adds up numbers and names of numbers.
func (s *scope) sum(arg any) (int64, error) {
	list, ok := arg.([]any)
	if !ok {
		list = []any{arg}
	}
	var sum int64
	for _, term := range list {
		n, err := s.whole(term)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// whole reads a number, the name of one, or a sum.
func (s *scope) whole(n any) (int64, error) {
	if o, ok := n.(object); ok {
		if name, arg, ok := operator(o); ok && name == "$plus" {
			return s.sum(arg)
		}
	}
	if text, ok := n.(string); ok {
		name, ok := variable(text)
		if !ok {
			return 0, fmt.Errorf("%q is no number", text)
		}
		value, ok := s.lookup(name)
		if !ok {
			return 0, fmt.Errorf("nothing is bound to $%s", name)
		}
		n = json.Number(value)
	}
	i, ok := integer(n)
	if !ok {
		return 0, fmt.Errorf("%s is no whole number", appendNode(nil, n))
	}
	return i, nil
}
