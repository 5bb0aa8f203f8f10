package conformance

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func testBindings() *bindings {
	return newBindings(map[string]int64{"id": 0}, func() time.Time { return time.UnixMilli(1_700_000_000_000) })
}

// Each matcher is shown with what it takes and with what it refuses; why is a
// part of the reason.
func TestMatch(t *testing.T) {
	for _, c := range []struct{ pattern, yes, no, why string }{
		{`1`, `1`, `2`, "expected 1, came 2"},
		{`1`, `1.0`, `1.5`, "expected 1"},
		{`9007199254740993`, `9007199254740993`, `9007199254740992`, "expected"},
		{`"a"`, `"\u0061"`, `"b"`, `expected "a", came "b"`},
		{`"$$a"`, `"$a"`, `"a"`, "expected"},
		{`true`, `true`, `false`, "expected true"},
		{`null`, `null`, `0`, "expected null"},
		{`"1"`, `"1"`, `1`, "expected"},
		{`1`, `1`, `[1]`, "came [1]"},
		{`{"a": 1}`, `{"a": 1}`, `{"a": 1, "b": 2}`, ".b: was not expected, is 2"},
		{`{"a": 1}`, `{"a":1}`, `{}`, ".a: is absent"},
		{`{"a": 1}`, `{"a":1}`, `[1]`, "expected an object"},
		{`{"a": 1, "...": true}`, `{"a": 1, "b": 2}`, `{"b": 2}`, ".a: is absent"},
		{`{"a": "$absent", "...": true}`, `{"b": 1}`, `{"a": null}`, ".a: must be absent"},
		{`{"a": "$any"}`, `{"a": null}`, `{}`, ".a: is absent"},
		{`{"a": {"$optional": 1}}`, `{}`, `{"a": 2}`, ".a: expected 1"},
		{`{"a": {"$optional": 1}}`, `{"a": 1}`, `{"b": 1}`, ".b: was not expected"},
		{`[1, 2]`, `[1, 2]`, `[1]`, "[1]: is absent"},
		{`[1, 2]`, `[1, 2]`, `[1, 2, 3]`, "[2]: was not expected"},
		{`[1, 2]`, `[1, 2]`, `[2, 1]`, "[0]: expected 1"},
		{`[1]`, `[1]`, `{"0": 1}`, "expected an array"},
		{`[1, "..."]`, `[1, 2, 3]`, `[2]`, "[0]"},
		{`[]`, `[]`, `[0]`, "[0]: was not expected"},
		{`{"$any": "string"}`, `"x"`, `1`, "any string"},
		{`{"$any": "integer"}`, `1`, `1.5`, "any integer"},
		{`{"$any": "number"}`, `1`, `"1"`, "any number"},
		{`{"$any": "number"}`, `1.5`, `null`, "any number"},
		{`{"$any": "object"}`, `{}`, `[]`, "any object"},
		{`{"$any": "array"}`, `[]`, `{}`, "any array"},
		{`{"$any": "boolean"}`, `false`, `null`, "any boolean"},
		{`{"$oneOf": [1, "a"]}`, `"a"`, `2`, "expected one of"},
		{`{"$between": [1, 3]}`, `3`, `4`, "expected 1 to 3"},
		{`{"$between": [1, 3]}`, `1`, `0.5`, "expected 1 to 3"},
		{`{"$between": [1, 3]}`, `2.5`, `"2"`, "expected a number"},
		{`{"$between": ["$unbound", 1]}`, ``, `1`, "the pattern is wrong"},
		{`{"$contains": "b"}`, `"abc"`, `"ac"`, `with "b" in it`},
		{`{"$contains": "1"}`, `"1"`, `1`, `with "1" in it`},
		{`{"$length": 2}`, `"ab"`, `"abc"`, "its length"},
		{`{"$length": {"$between": [1, 2]}}`, `[0]`, `[]`, "its length"},
		{`{"$length": 0}`, `""`, `{}`, "a text or an array"},
		{`{"$raw": "{\"a\" :1.0}"}`, `{"a" :1.0}`, `{"a": 1.0}`, "expected the bytes"},
		{`{"$times": [7, 2]}`, `[7, 7]`, `[7]`, "[1]: is absent"},
		{`{"$plus": [1, 2]}`, `3`, `4`, "expected 3"},
		{`{"$repeat": ["ab", 2]}`, `"abab"`, `"ab"`, `expected "abab"`},
		{`{"$nonsense": 1}`, ``, `1`, "cannot be sent"},
		{`{"a": {"b": [{"c": 1}]}}`, `{"a": {"b": [{"c": 1}]}}`, `{"a": {"b": [{"c": 2}]}}`, ".a.b[0].c: expected 1, came 2"},
	} {
		p := json.RawMessage(c.pattern)
		if c.yes != "" {
			if err := testBindings().match(p, json.RawMessage(c.yes)); err != nil {
				t.Errorf("%s refuses %s: %v", c.pattern, c.yes, err)
			}
		}
		err := testBindings().match(p, json.RawMessage(c.no))
		if err == nil {
			t.Errorf("%s takes %s", c.pattern, c.no)
		} else if !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s refuses %s with %q, not with %q", c.pattern, c.no, err, c.why)
		}
	}
}

func TestNames(t *testing.T) {
	s := testBindings()
	p := json.RawMessage(`{"a": "$x", "b": "$x"}`)
	if err := s.match(p, json.RawMessage(`{"a": {"k": [1]}, "b": {"k": [2]}}`)); err == nil {
		t.Error("a name meets two values at once")
	}
	if _, bound := s.values["x"]; bound {
		t.Error("a pattern that did not match has bound a name")
	}
	assert.NoError(t, s.match(p, json.RawMessage(`{"a": {"k": [1]}, "b": {"k":[1.0]}}`)))
	if err := s.match(json.RawMessage(`"$x"`), json.RawMessage(`{"k": [3]}`)); err == nil || !strings.Contains(err.Error(), "$x is bound") {
		t.Errorf("a bound name matches something else: %v", err)
	}
	assert.NoError(t, s.match(json.RawMessage(`{"$oneOf": [{"a": "$y", "b": 1}, {"a": "$z", "b": 2}]}`), json.RawMessage(`{"a": 5, "b": 2}`)))
	if _, bound := s.values["y"]; bound {
		t.Error("the choice that did not match has bound a name")
	}
	if string(s.values["z"]) != "5" {
		t.Errorf("$z is %s", s.values["z"])
	}
}

func TestNamesOfIDs(t *testing.T) {
	s := testBindings()
	n, err := s.expand(json.RawMessage(`{"id": "$id"}`))
	require.NoError(t, err)
	var got struct{ ID string }
	if err := json.Unmarshal(n, &got); err != nil || !wire.ValidID(got.ID) {
		t.Fatalf("%s is no id (%v)", got.ID, err)
	}
	if ms := wire.IDTime(got.ID).UnixMilli(); ms != 1_700_000_000_000 {
		t.Errorf("the id's time is %d", ms)
	}
	assert.NoError(t, s.match(json.RawMessage(`"$id"`), json.RawMessage(`"`+got.ID+`"`)))
	if err := s.match(json.RawMessage(`"$id"`), json.RawMessage(`"another"`)); err == nil {
		t.Error("an id matches another")
	}
}

func TestExpand(t *testing.T) {
	s := testBindings()
	s.values["n"] = json.RawMessage("41")
	s.values["o"] = json.RawMessage(`{"k": true}`)
	s.token = func(who string) (string, error) { return "token of " + who, nil }
	for in, want := range map[string]string{
		`{"b": 1, "a": [null, false]}`:          `{"b": 1, "a": [null, false]}`,
		`["$n", "$$n", "$o", "$"]`:              `[41, "$n", {"k": true}, "$"]`,
		`{"$plus": ["$n", 1]}`:                  `42`,
		`{"x": {"$plus": [{"$plus": ["$n"]}]}}`: `{"x": 41}`,
		`{"$raw": "{ \"a\":1.0 }"}`:             `{ "a":1.0 }`,
		`{"$repeat": ["ab", 3]}`:                `"ababab"`,
		`{"$times": [{"n": "$n"}, 2]}`:          `[{"n": 41}, {"n": 41}]`,
		`{"$token": "alice"}`:                   `"token of alice"`,
		`"<&>"`:                                 `"<&>"`,
		`{"n": 9007199254740993, "f": 1.0e+2}`:  `{"n": 9007199254740993, "f": 1.0e+2}`,
	} {
		n, err := s.expand(json.RawMessage(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := string(n); got != want {
			t.Errorf("%s became %s, not %s", in, got, want)
		}
	}
	for _, in := range []string{
		`"$unbound"`, `[{"a": "$unbound"}]`, `{"$any": "string"}`, `{"$plus": ["$o"]}`,
	} {
		if n, err := s.expand(json.RawMessage(in)); err == nil {
			t.Errorf("%s became %s", in, n)
		}
	}
}

func TestCheckJSON(t *testing.T) {
	for _, in := range []string{``, `{`, `{"a": 1, "a": 2}`, `[{"b": {"a": 1, "a": 2}}]`, `1 2`, `{"a": 1}}`, `[1,]`, `nope`} {
		if checkJSON([]byte(in)) == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}

// drawValue draws any JSON value.
func drawValue(t *rapid.T, depth int) json.RawMessage {
	kinds := 6
	if depth == 0 {
		kinds = 4
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return encode(rapid.StringN(0, 6, -1).Draw(t, "text"))
	case 1:
		return json.RawMessage(rapid.StringMatching(`-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,3})?`).Draw(t, "number"))
	case 2:
		return encode(rapid.Bool().Draw(t, "bool"))
	case 3:
		return json.RawMessage("null")
	case 4:
		list := make([]json.RawMessage, rapid.IntRange(0, 3).Draw(t, "length"))
		for i := range list {
			list[i] = drawValue(t, depth-1)
		}
		return encodeArray(list)
	}
	var fields []member
	for _, key := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}`), 0, 3, rapid.ID).Draw(t, "keys") {
		fields = append(fields, member{key, drawValue(t, depth-1)})
	}
	return encodeObject(fields)
}

// dollars doubles the leading dollars of a value's texts.
func dollars(n json.RawMessage) json.RawMessage {
	switch kindOf(n) {
	case "string":
		if text := stringOf(n); strings.HasPrefix(text, "$") {
			return encode("$" + text)
		}
	case "array":
		list := elements(n)
		for i := range list {
			list[i] = dollars(list[i])
		}
		return encodeArray(list)
	case "object":
		fields := members(n)
		for i := range fields {
			fields[i].value = dollars(fields[i].value)
		}
		return encodeObject(fields)
	}
	return n
}

// Any value can be read, matches itself as a pattern, is sent as it is, and
// matches no value that differs from it.
func TestAnyValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawValue(t, 3), drawValue(t, 3)
		if err := checkJSON(a); err != nil || !equalJSON(a, a) {
			t.Fatalf("%s cannot be read: %v", a, err)
		}
		if err := testBindings().match(dollars(a), a); err != nil && !hasRest(a) {
			t.Fatalf("%s does not match itself: %v", a, err)
		}
		sent, err := testBindings().expand(dollars(a))
		if err != nil || string(sent) != string(a) {
			t.Fatalf("%s is sent as %s (%v)", a, sent, err)
		}
		same := equalJSON(a, b)
		if got := testBindings().match(dollars(a), b) == nil; got != same && !hasRest(a) {
			t.Fatalf("%s matches %s: %v", a, b, got)
		}
	})
}

// hasRest reports whether a value holds what means "more may follow".
func hasRest(n json.RawMessage) bool { return strings.Contains(string(n), rest) }
