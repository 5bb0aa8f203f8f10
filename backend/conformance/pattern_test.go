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

func match(pattern, value string) error {
	return testBindings().match(json.RawMessage(pattern), json.RawMessage(value))
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
		{`[{"$optional": 1}]`, `[1]`, `[]`, "[0]: is absent"},
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
		if c.yes != "" {
			assert.NoError(t, match(c.pattern, c.yes), "%s and %s", c.pattern, c.yes)
		}
		assert.ErrorContains(t, match(c.pattern, c.no), c.why, "%s and %s", c.pattern, c.no)
	}
}

func TestNames(t *testing.T) {
	b := testBindings()
	match := func(pattern, value string) error { return b.match(json.RawMessage(pattern), json.RawMessage(value)) }
	require.Error(t, match(`{"a": "$x", "b": "$x"}`, `{"a": {"k": [1]}, "b": {"k": [2]}}`), "a name meets two values at once")
	require.NotContains(t, b.values, "x", "a pattern that did not match has bound a name")
	require.NoError(t, match(`{"a": "$x", "b": "$x"}`, `{"a": {"k": [1]}, "b": {"k":[1.0]}}`))
	require.ErrorContains(t, match(`"$x"`, `{"k": [3]}`), "$x is bound")
	require.NoError(t, match(`{"$oneOf": [{"a": "$y", "b": 1}, {"a": "$z", "b": 2}]}`, `{"a": 5, "b": 2}`))
	require.NotContains(t, b.values, "y", "the choice that did not match has bound a name")
	require.Equal(t, "5", string(b.values["z"]))
}

func TestNamesOfIDs(t *testing.T) {
	b := testBindings()
	id, err := b.expand(json.RawMessage(`"$id"`))
	require.NoError(t, err)
	require.True(t, wire.ValidID(stringOf(id)), "%s", id)
	require.EqualValues(t, 1_700_000_000_000, wire.IDTime(stringOf(id)).UnixMilli())
	require.NoError(t, b.match(json.RawMessage(`"$id"`), id))
	require.Error(t, b.match(json.RawMessage(`"$id"`), json.RawMessage(`"another"`)))
}

func TestExpand(t *testing.T) {
	b := testBindings()
	b.values["n"] = json.RawMessage("41")
	b.values["o"] = json.RawMessage(`{"k": true}`)
	b.token = func(who string) (string, error) { return "token of " + who, nil }
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
		got, err := b.expand(json.RawMessage(in))
		assert.NoError(t, err, in)
		assert.Equal(t, want, string(got), in)
	}
	for _, in := range []string{`"$unbound"`, `[{"a": "$unbound"}]`, `{"$any": "string"}`, `{"$plus": ["$o"]}`} {
		_, err := b.expand(json.RawMessage(in))
		assert.Error(t, err, in)
	}
}

func TestCheckJSON(t *testing.T) {
	for _, in := range []string{``, `{`, `{"a": 1, "a": 2}`, `[{"b": {"a": 1, "a": 2}}]`, `1 2`, `{"a": 1}}`, `[1,]`, `nope`} {
		assert.Error(t, checkJSON([]byte(in)), in)
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
func dollars(n json.RawMessage) (json.RawMessage, error) {
	if text := stringOf(n); strings.HasPrefix(text, "$") {
		return encode("$" + text), nil
	}
	return replaceMembers(n, dollars)
}

// Any value can be read, matches itself as a pattern, is sent as it is, and
// matches no value that differs from it.
func TestAnyValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawValue(t, 3), drawValue(t, 3)
		require.NoError(t, checkJSON(a))
		require.True(t, equalJSON(a, a), "%s", a)
		pattern, err := dollars(a)
		require.NoError(t, err)
		sent, err := testBindings().expand(pattern)
		require.NoError(t, err)
		require.Equal(t, string(a), string(sent))
		if !hasRest(a) {
			require.NoError(t, testBindings().match(pattern, a))
			require.Equal(t, equalJSON(a, b), testBindings().match(pattern, b) == nil, "%s and %s", a, b)
		}
	})
}

// hasRest reports whether a value holds what means "more may follow".
func hasRest(n json.RawMessage) bool { return strings.Contains(string(n), rest) }
