package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// rest is the key, or the last element, that lets more follow.
const rest = "..."

// mismatch says where and why a value is not what was expected.
type mismatch struct {
	path string
	why  string
}

func (m *mismatch) Error() string {
	if m.path == "" {
		return m.why
	}
	return m.path + ": " + m.why
}

func differ(path, format string, args ...any) *mismatch {
	return &mismatch{path, fmt.Sprintf(format, args...)}
}

// match tells whether a value is what a pattern asks for. Names that the
// pattern meets for the first time are bound if all of it matches, and not
// otherwise.
func (s *scope) match(pattern any, value json.RawMessage) error {
	try := s.fork()
	if m := try.matchValue("", pattern, value); m != nil {
		return m
	}
	s.adopt(try)
	return nil
}

func (s *scope) matchValue(path string, pattern any, value json.RawMessage) *mismatch {
	switch p := pattern.(type) {
	case object:
		if name, arg, ok := operator(p); ok {
			return s.matchOperator(path, name, arg, value)
		}
		return s.matchObject(path, p, value)
	case []any:
		return s.matchList(path, p, value)
	case string:
		if name, ok := variable(p); ok {
			return s.matchName(path, name, value)
		}
		return equalScalar(path, literal(p), value)
	default:
		return equalScalar(path, p, value)
	}
}

// matchName handles $any, $absent and variables.
func (s *scope) matchName(path, name string, value json.RawMessage) *mismatch {
	switch name {
	case "any":
		return nil
	case "absent":
		return differ(path, "must be absent, is %s", brief(value))
	}
	bound, ok := s.lookup(name)
	if !ok {
		s.values[name] = bytes.Clone(value)
		return nil
	}
	if !equalValues(bound, value) {
		return differ(path, "expected %s, to which $%s is bound, came %s", brief(bound), name, brief(value))
	}
	return nil
}

func (s *scope) matchObject(path string, p object, value json.RawMessage) *mismatch {
	var fields map[string]json.RawMessage
	if kindOf(value) != "object" || json.Unmarshal(value, &fields) != nil {
		return differ(path, "expected an object, came %s", brief(value))
	}
	open := false
	for _, m := range p {
		if m.key == rest {
			open = true
			continue
		}
		field, there := fields[m.key]
		delete(fields, m.key)
		at := path + "." + m.key
		if miss := s.matchField(at, m.value, field, there); miss != nil {
			return miss
		}
	}
	if open || len(fields) == 0 {
		return nil
	}
	for _, key := range keysOf(value) {
		if _, left := fields[key]; left {
			return differ(path+"."+key, "was not expected, is %s", brief(fields[key]))
		}
	}
	return nil
}

// matchField judges a field that may be absent.
func (s *scope) matchField(path string, p any, field json.RawMessage, there bool) *mismatch {
	if o, ok := p.(object); ok {
		if name, arg, ok := operator(o); ok && name == "$optional" {
			if !there {
				return nil
			}
			return s.matchValue(path, arg, field)
		}
	}
	switch {
	case p == "$absent" && !there:
		return nil
	case !there:
		return differ(path, "is absent, expected %s", brief(appendNode(nil, p)))
	}
	return s.matchValue(path, p, field)
}

func (s *scope) matchList(path string, p []any, value json.RawMessage) *mismatch {
	var list []json.RawMessage
	if kindOf(value) != "array" || json.Unmarshal(value, &list) != nil {
		return differ(path, "expected an array, came %s", brief(value))
	}
	open := len(p) > 0 && p[len(p)-1] == rest
	if open {
		p = p[:len(p)-1]
	}
	for i, e := range p {
		at := fmt.Sprintf("%s[%d]", path, i)
		if i >= len(list) {
			return differ(at, "is absent, expected %s", brief(appendNode(nil, e)))
		}
		if m := s.matchValue(at, e, list[i]); m != nil {
			return m
		}
	}
	if len(list) > len(p) && !open {
		return differ(fmt.Sprintf("%s[%d]", path, len(p)), "was not expected, is %s", brief(list[len(p)]))
	}
	return nil
}

func (s *scope) matchOperator(path, name string, arg any, value json.RawMessage) *mismatch {
	switch name {
	case "$any":
		if kind := kindOf(value); kind != arg && (arg != "number" || kind != "integer") {
			return differ(path, "expected any %v, came %s", arg, brief(value))
		}
		return nil
	case "$oneOf":
		return s.matchOneOf(path, arg, value)
	case "$between":
		return s.matchBetween(path, arg, value)
	case "$contains":
		var text string
		want, ok := arg.(string)
		if !ok || json.Unmarshal(value, &text) != nil || !strings.Contains(text, want) {
			return differ(path, "expected a text with %v in it, came %s", arg, brief(value))
		}
		return nil
	case "$length":
		n, ok := length(value)
		if !ok {
			return differ(path, "expected a text or an array, came %s", brief(value))
		}
		return s.matchValue(path+" (its length)", arg, fmt.Append(nil, n))
	case "$raw":
		want, ok := arg.(string)
		if !ok || string(bytes.TrimSpace(value)) != want {
			return differ(path, "expected the bytes %v, came %s", arg, brief(value))
		}
		return nil
	case "$optional":
		return s.matchValue(path, arg, value)
	case "$times":
		list, err := times(arg)
		if err != nil {
			return differ(path, "the pattern is wrong: %v", err)
		}
		return s.matchList(path, list, value)
	default:
		n, err := s.generate(name, arg)
		if err != nil {
			return differ(path, "the pattern is wrong: %v", err)
		}
		if want := appendNode(nil, n); !equalValues(want, value) {
			return differ(path, "expected %s, came %s", brief(want), brief(value))
		}
		return nil
	}
}

func (s *scope) matchOneOf(path string, arg any, value json.RawMessage) *mismatch {
	choices, _ := arg.([]any)
	for _, choice := range choices {
		try := s.fork()
		if try.matchValue(path, choice, value) == nil {
			s.adopt(try)
			return nil
		}
	}
	return differ(path, "expected one of %s, came %s", brief(appendNode(nil, arg)), brief(value))
}

func (s *scope) matchBetween(path string, arg any, value json.RawMessage) *mismatch {
	bounds, _ := arg.([]any)
	if len(bounds) != 2 {
		return differ(path, "the pattern is wrong: $between takes [low, high]")
	}
	low, err := s.whole(bounds[0])
	if err != nil {
		return differ(path, "the pattern is wrong: %v", err)
	}
	high, err := s.whole(bounds[1])
	if err != nil {
		return differ(path, "the pattern is wrong: %v", err)
	}
	var n json.Number
	if k := kindOf(value); (k != "number" && k != "integer") || json.Unmarshal(value, &n) != nil {
		return differ(path, "expected a number, came %s", brief(value))
	}
	f, err := n.Float64()
	if err != nil || f < float64(low) || f > float64(high) {
		return differ(path, "expected %d to %d, came %s", low, high, n)
	}
	return nil
}

// equalScalar compares with a text, a number, a boolean or null.
func equalScalar(path string, want any, value json.RawMessage) *mismatch {
	got, err := parseNode(value)
	if err != nil {
		return differ(path, "is no JSON: %v", err)
	}
	switch got.(type) {
	case object, []any:
		return differ(path, "expected %s, came %s", brief(appendNode(nil, want)), brief(value))
	}
	if equalNodes(want, got) {
		return nil
	}
	return differ(path, "expected %s, came %s", brief(appendNode(nil, want)), brief(value))
}

// equalValues tells whether two JSON texts mean the same value.
func equalValues(a, b json.RawMessage) bool {
	m, errA := parseNode(a)
	n, errB := parseNode(b)
	return errA == nil && errB == nil && equalNodes(m, n)
}

func equalNodes(a, b any) bool {
	switch v := a.(type) {
	case json.Number:
		w, ok := b.(json.Number)
		return ok && equalNumbers(v, w)
	case []any:
		w, ok := b.([]any)
		return ok && slices.EqualFunc(v, w, equalNodes)
	case object:
		w, ok := b.(object)
		if !ok || len(v) != len(w) {
			return false
		}
		for _, m := range v {
			other, there := w.get(m.key)
			if !there || !equalNodes(m.value, other) {
				return false
			}
		}
		return true
	}
	if _, ok := b.(object); ok {
		return false
	}
	if _, ok := b.([]any); ok {
		return false
	}
	return a == b
}

// equalNumbers compares numbers that are written differently: 1 and 1.0.
func equalNumbers(a, b json.Number) bool {
	m, errA := a.Int64()
	n, errB := b.Int64()
	if errA == nil && errB == nil {
		return m == n // as floats, 2^53 and 2^53 + 1 would be the same
	}
	f, errA := a.Float64()
	g, errB := b.Float64()
	return errA == nil && errB == nil && f == g
}

func length(value json.RawMessage) (int, bool) {
	switch kindOf(value) {
	case "string":
		var text string
		err := json.Unmarshal(value, &text)
		return len(text), err == nil
	case "array":
		var list []json.RawMessage
		err := json.Unmarshal(value, &list)
		return len(list), err == nil
	}
	return 0, false
}

// kindOf names what a JSON value is.
func kindOf(value json.RawMessage) string {
	value = bytes.TrimSpace(value)
	if len(value) == 0 {
		return "nothing"
	}
	switch value[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	if bytes.ContainsAny(value, ".eE") {
		return "number"
	}
	return "integer"
}

// keysOf returns an object's keys in the order in which they stand.
func keysOf(value json.RawMessage) []string {
	n, err := parseNode(value)
	if err != nil {
		return nil
	}
	o, _ := n.(object)
	keys := make([]string, len(o))
	for i, m := range o {
		keys[i] = m.key
	}
	return keys
}

// brief cuts a text for a report.
func brief(b []byte) string {
	const most = 300
	if len(b) <= most {
		return string(b)
	}
	cut := most
	for !utf8.RuneStart(b[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", b[:cut], len(b))
}
