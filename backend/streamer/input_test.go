package streamer_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/streamer"
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

func refusal(t *testing.T, err error) string {
	t.Helper()
	var e *core.Error
	if !errors.As(err, &e) || e.Code != "invalid_payload" {
		t.Fatalf("not refused as invalid_payload: %v", err)
	}
	return e.Field + ": " + e.Message
}

func TestInputsAreStrict(t *testing.T) {
	decode := decoderOf[in](t)
	if v, err := decode(` {"b":"x","a":2e0} `); err != nil || v != (in{2, "x"}) {
		t.Errorf("%v %v", v, err)
	}
	for payload, want := range map[string]string{
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
	} {
		_, err := decode(payload)
		if got := refusal(t, err); got != want {
			t.Errorf("%s: got %q, want %q", payload, got, want)
		}
	}
}

func TestAbsentInputs(t *testing.T) {
	type optional struct {
		A int `json:"a,omitempty"`
	}
	for _, payload := range []string{"", "null", " null ", "{}"} {
		if v, err := decoderOf[optional](t)(payload); err != nil || v.A != 0 {
			t.Errorf("%q: %v %v", payload, v, err)
		}
		if v, err := decoderOf[*optional](t)(payload); err != nil || v == nil {
			t.Errorf("%q as a pointer: %v %v", payload, v, err)
		}
		if _, err := decoderOf[struct{}](t)(payload); err != nil {
			t.Errorf("%q as nothing: %v", payload, err)
		}
	}
	if _, err := decoderOf[*in](t)("null"); err == nil {
		t.Error("null was taken although a field is required")
	}
	if v, err := decoderOf[[]int](t)("null"); err != nil || v != nil {
		t.Errorf("a slice: %v %v", v, err)
	}
}

func TestRawInputsPassUnchanged(t *testing.T) {
	payload := ` {"a" : 1, "a":2, "x":"\ud800" } `
	if v, err := decoderOf[json.RawMessage](t)(payload); err != nil || string(v) != payload {
		t.Errorf("%q %v", v, err)
	}
	if v, err := decoderOf[json.RawMessage](t)(""); err != nil || string(v) != "null" {
		t.Errorf("%q %v", v, err)
	}
}

func TestBigNumbersSurvive(t *testing.T) {
	v, err := decoderOf[map[string]any](t)(`{"n":12345678901234567890,"l":[0.1]}`)
	want := map[string]any{"n": json.Number("12345678901234567890"), "l": []any{json.Number("0.1")}}
	if err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("%v %v", v, err)
	}
	type big struct {
		N int64 `json:"n"`
	}
	if v, err := decoderOf[big](t)(`{"n":9007199254740993}`); err != nil || v.N != 9007199254740993 {
		t.Errorf("%v %v", v, err)
	}
}

// level is a type with text methods.
type level struct{ n int }

func (l level) MarshalText() ([]byte, error) { return []byte(strings.Repeat("i", l.n)), nil }

func (l *level) UnmarshalText(text []byte) error {
	switch string(text) {
	case "panic":
		panic("oh")
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
	if v, err := decode(`{"l":"iii"}`); err != nil || v.L.n != 3 {
		t.Errorf("%v %v", v, err)
	}
	for payload, want := range map[string]string{
		`{"l":"iiiiii"}`: "/l: must have at most 5 characters",
		`{"l":"xx"}`:     ": a value breaks the rules of its type",
		`{"l":"panic"}`:  ": a value breaks the rules of its type",
		`{"l":"told"}`:   ": a level is written in i",
		`{"l":1}`:        "/l: must be a string",
	} {
		_, err := decode(payload)
		if got := refusal(t, err); got != want || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", payload, err)
		}
	}
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
	registry, err := r.Build()
	if err != nil {
		b.Fatal(err)
	}
	payload := []byte(`{"text":"` + strings.Repeat("x", 250) + `","count":42}`)
	call := &core.Call{Sink: &sink{}}
	for name, action := range registry.Actions {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v, err := action.Decode(payload)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := action.Run(b.Context(), v, call); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
