package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestPretty(t *testing.T) {
	const text = `{"n":1.0,"list":[],"o":{"k":"a\"b: c"},"t":true,"z":null}`
	if got, want := style(false).pretty([]byte(text), false), "{\n  \"n\": 1.0,\n  \"list\": [],\n  \"o\": {\n    \"k\": \"a\\\"b: c\"\n  },\n  \"t\": true,\n  \"z\": null\n}"; got != want {
		t.Errorf("laid out came %s", got)
	}
	if got, want := style(true).pretty([]byte(`{"k": [1]}`), true), "{\x1b[36m\"k\"\x1b[0m:[\x1b[33m1\x1b[0m]}"; got != want {
		t.Errorf("in colours came %q", got)
	}
}

// What is laid out and painted is still the same JSON, and moves no cursor.
func TestPrettyKeepsValues(t *testing.T) {
	value := rapid.Custom(func(r *rapid.T) any {
		return rapid.OneOf(rapid.String().AsAny(), rapid.Int32().AsAny(), rapid.Bool().AsAny(), rapid.Just(any(nil))).Draw(r, "leaf")
	})
	rapid.Check(t, func(r *rapid.T) {
		in := map[string]any{"list": rapid.SliceOfN(value, 0, 5).Draw(r, "list"), "map": rapid.MapOfN(rapid.String(), value, 0, 5).Draw(r, "map")}
		var raw bytes.Buffer
		enc := json.NewEncoder(&raw)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(in); err != nil {
			r.Fatal(err)
		}
		for _, flat := range []bool{false, true} {
			painted := style(true).pretty(raw.Bytes(), flat)
			plain := escapes.ReplaceAllString(painted, "")
			var want, got any
			if err := json.Unmarshal([]byte(plain), &got); err != nil {
				r.Fatalf("%q is no JSON: %v", plain, err)
			}
			if err := json.Unmarshal(raw.Bytes(), &want); err != nil {
				r.Fatal(err)
			}
			a, _ := json.Marshal(got)
			b, _ := json.Marshal(want)
			if !bytes.Equal(a, b) {
				r.Fatalf("%s became %s", b, a)
			}
			if strings.ContainsFunc(strings.ReplaceAll(plain, "\n", ""), harmful) {
				r.Fatalf("%q can move a cursor", plain)
			}
		}
	})
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain é 日本": "plain é 日本", "a\nb\tc": "a b c", "\x1b[31mred": `\u001b[31mred`, "\u009b2J": `\u009b2J`, "x\u202ey": `x\u202ey`, "\x00": `\u0000`,
	} {
		if got := clean(in); got != want {
			t.Errorf("%q became %q, expected %q", in, got, want)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		got := clean(string(rapid.SliceOf(rapid.Byte()).Draw(r, "bytes")))
		if strings.ContainsFunc(got, unicode.IsControl) {
			r.Fatalf("%q", got)
		}
	})
}

// FuzzPretty: whatever a server sends, nothing panics and nothing moves the
// cursor.
func FuzzPretty(f *testing.F) {
	f.Add([]byte(`{"a": [1, "\u009b", -0.5e1, true, null]}`))
	f.Add([]byte("\"\u009b\x7f\""))
	f.Add([]byte(`{"broken`))
	f.Add([]byte("0\r"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, flat := range []bool{false, true} {
			got := escapes.ReplaceAllString(style(true).pretty(data, flat), "")
			if strings.ContainsFunc(strings.ReplaceAll(got, "\n", ""), harmful) {
				t.Errorf("%q became %q", data, got)
			}
		}
	})
}
