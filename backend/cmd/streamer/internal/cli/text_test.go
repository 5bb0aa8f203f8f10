package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"
)

func TestFormatJSON(t *testing.T) {
	const text = `{"n":1.0,"list":[],"o":{"k":"a\"b: c"},"t":true,"z":null}`
	if got, want := formatJSON([]byte(text), false), "{\n  \"n\": 1.0,\n  \"list\": [],\n  \"o\": {\n    \"k\": \"a\\\"b: c\"\n  },\n  \"t\": true,\n  \"z\": null\n}"; got != want {
		t.Errorf("indented: %s", got)
	}
	if got, want := formatJSON([]byte(`{"k": [1]}`), true), `{"k":[1]}`; got != want {
		t.Errorf("in one line: %q", got)
	}
}

// Formatted JSON has the same values, and is safe to print.
func TestFormatJSONKeepsValues(t *testing.T) {
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
		for _, oneLine := range []bool{false, true} {
			text := formatJSON(raw.Bytes(), oneLine)
			var want, got any
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				r.Fatalf("%q is not JSON: %v", text, err)
			}
			if err := json.Unmarshal(raw.Bytes(), &want); err != nil {
				r.Fatal(err)
			}
			a, _ := json.Marshal(got)
			b, _ := json.Marshal(want)
			if !bytes.Equal(a, b) {
				r.Fatalf("%s became %s", b, a)
			}
			if strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), isUnsafe) {
				r.Fatalf("%q is not safe to print", text)
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

// FuzzFormatJSON: for any text from a server, nothing panics, and the text is safe to
// print.
func FuzzFormatJSON(f *testing.F) {
	f.Add([]byte(`{"a": [1, "\u009b", -0.5e1, true, null]}`))
	f.Add([]byte("\"\u009b\x7f\""))
	f.Add([]byte(`{"broken`))
	f.Add([]byte("0\r"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, oneLine := range []bool{false, true} {
			got := formatJSON(data, oneLine)
			if strings.ContainsFunc(strings.ReplaceAll(got, "\n", ""), isUnsafe) {
				t.Errorf("%q became %q", data, got)
			}
		}
	})
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0ms", 999 * time.Millisecond: "999ms", time.Second: "1s", 1999 * time.Millisecond: "1.9s", 59900 * time.Millisecond: "59s",
		61 * time.Second: "1m01s", 3661 * time.Second: "1h01m", 49 * time.Hour: "2d",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%d is %q, expected %q", d, got, want)
		}
	}
}

func TestFormatAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "now", 999 * time.Millisecond: "now", 1999 * time.Millisecond: "1s", 59 * time.Second: "59s", 61 * time.Second: "1m", 3661 * time.Second: "1h",
		49 * time.Hour: "2d",
	} {
		if got := formatAge(d); got != want {
			t.Errorf("%d is %q, expected %q", d, got, want)
		}
	}
}
