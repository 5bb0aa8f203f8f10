package streamer_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// decoderOf returns how a registered handler decodes its payloads.
func decoderOf[In any](t *testing.T) func(string) (In, error) {
	t.Helper()
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "a", func(context.Context, In) (int, error) { return 0, nil })
	a := build(t, r).Actions["a"]
	return func(payload string) (In, error) {
		v, err := a.Decode([]byte(payload))
		typed, _ := v.(In)
		return typed, err
	}
}

// requireCode returns the error for the caller, which must have this code.
func requireCode(t *testing.T, code string, err error) *core.Error {
	t.Helper()
	var e *core.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code)
	return e
}

// requireInvalid checks that payloads are refused with the field and text that
// are wanted for them.
func requireInvalid[In any](t *testing.T, decode func(string) (In, error), wants map[string]string) {
	t.Helper()
	for payload, want := range wants {
		_, err := decode(payload)
		e := requireCode(t, "invalid_payload", err)
		assert.Equal(t, want, e.Field+": "+e.Message, payload)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestInputsAreStrict(t *testing.T) {
	decode := decoderOf[in](t)
	v, err := decode(` {"b":"x","a":2e0} `)
	require.NoError(t, err)
	require.Equal(t, in{2, "x"}, v)
	requireInvalid(t, decode, map[string]string{
		``:                             ": must be an object",
		`null`:                         ": must be an object",
		`[]`:                           ": must be an object",
		`{}`:                           "/a: is required",
		`{"a":0}`:                      "/a: must be at least 1 and at most 9223372036854775807",
		`{"a":1.5}`:                    "/a: must be a whole number",
		`{"a":"1"}`:                    "/a: must be an integer",
		`{"a":null}`:                   "/a: must be an integer",
		`{"a":1,"b":null}`:             "/b: must be a string",
		`{"a":1,"B":"x"}`:              "/B: unknown field; names are case-sensitive: b",
		`{"a":1,"c":"secret"}`:         "/c: unknown field",
		`{"a":1,"a":1}`:                "/a: the key stands twice",
		`{"a":1}{"a":1}`:               ": something follows the value",
		`{"a":1,"b":"\ud800"}`:         "/b: a lone surrogate in a string",
		`{"a":1,"b":"` + "\xff" + `"}`: ": not UTF-8",
		`{"a":1`:                       ": the JSON ends too early",
		`{"a":10x}`:                    ": not JSON",
	})
}

func TestAbsentInputs(t *testing.T) {
	type optional struct {
		A int `json:"a,omitempty"`
	}
	for _, payload := range []string{"", "null", " null ", "{}"} {
		v, err := decoderOf[optional](t)(payload)
		require.NoError(t, err, "%q", payload)
		require.Zero(t, v)
		p, err := decoderOf[*optional](t)(payload)
		require.NoError(t, err, "%q as a pointer", payload)
		require.NotNil(t, p)
		_, err = decoderOf[struct{}](t)(payload)
		require.NoError(t, err, "%q as nothing", payload)
	}
	_, err := decoderOf[*in](t)("null")
	require.Error(t, err, "a field is required")
	slice, err := decoderOf[[]int](t)("null")
	require.NoError(t, err)
	require.Nil(t, slice)
}

func TestRawInputsPassUnchanged(t *testing.T) {
	payload := ` {"a" : 1, "a":2, "x":"\ud800" } `
	v, err := decoderOf[json.RawMessage](t)(payload)
	require.NoError(t, err)
	require.Equal(t, payload, string(v))
	v, err = decoderOf[json.RawMessage](t)("")
	require.NoError(t, err)
	require.Equal(t, "null", string(v))
}

func TestBigNumbersSurvive(t *testing.T) {
	v, err := decoderOf[map[string]any](t)(`{"n":12345678901234567890,"l":[0.1]}`)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"n": json.Number("12345678901234567890"), "l": []any{json.Number("0.1")}}, v)
	type big struct {
		N int64 `json:"n"`
	}
	n, err := decoderOf[big](t)(`{"n":9007199254740993}`)
	require.NoError(t, err)
	require.EqualValues(t, 9007199254740993, n.N)
}

// level is a type with text methods.
type level struct{ n int }

func (l level) MarshalText() ([]byte, error) { return []byte(strings.Repeat("i", l.n)), nil }

func (l *level) UnmarshalText(text []byte) error {
	switch string(text) {
	case "panic":
		panic("oh")
	case "nil":
		return (*streamer.Error)(nil)
	case "told":
		return streamer.Errorf("no_level", "a level is written in i")
	}
	if strings.Trim(string(text), "i") != "" {
		return errors.New("secret: " + string(text))
	}
	l.n = len(text)
	return nil
}

func TestTypesWithTextMethods(t *testing.T) {
	type leveled struct {
		L level `json:"l" jsonschema:"maxLength=5"`
	}
	decode := decoderOf[leveled](t)
	v, err := decode(`{"l":"iii"}`)
	require.NoError(t, err)
	require.Equal(t, 3, v.L.n)
	requireInvalid(t, decode, map[string]string{
		`{"l":"iiiiii"}`: "/l: must have at most 5 characters",
		`{"l":"xx"}`:     ": a value breaks the rules of its type",
		`{"l":"panic"}`:  ": a value breaks the rules of its type",
		`{"l":"nil"}`:    ": a value breaks the rules of its type",
		`{"l":"told"}`:   ": a level is written in i",
		`{"l":1}`:        "/l: must be a string",
	})
}

// BenchmarkDecodeAndRun measures what this package adds to an inline call: checking,
// decoding, the handler, encoding.
func BenchmarkDecodeAndRun(b *testing.B) {
	type message struct {
		Text  string `json:"text" jsonschema:"maxLength=1000"`
		Count int    `json:"count" jsonschema:"minimum=0"`
	}
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "typed", func(_ context.Context, m message) (message, error) { return m, nil })
	streamer.Handle(r, "raw", func(_ context.Context, m json.RawMessage) (json.RawMessage, error) { return m, nil })
	registry := build(b, r)
	payload := []byte(`{"text":"` + strings.Repeat("x", 250) + `","count":42}`)
	call := &core.Call{Sink: &sink{}}
	for name, action := range registry.Actions {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v, err := action.Decode(payload)
				if err == nil {
					_, err = action.Run(b.Context(), v, call)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
