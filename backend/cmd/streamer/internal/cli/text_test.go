package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestFormatJSON(t *testing.T) {
	const text = `{"n":1.0,"list":[],"o":{"k":"a\"b: c"},"t":true,"z":null}`
	want := "{\n  \"n\": 1.0,\n  \"list\": [],\n  \"o\": {\n    \"k\": \"a\\\"b: c\"\n  },\n  \"t\": true,\n  \"z\": null\n}"
	assert.Equal(t, want, formatJSON([]byte(text), false))
	assert.Equal(t, `{"k":[1]}`, formatJSON([]byte(`{"k": [1]}`), true))
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
		require.NoError(r, enc.Encode(in))
		for _, oneLine := range []bool{false, true} {
			text := formatJSON(raw.Bytes(), oneLine)
			require.JSONEq(r, raw.String(), text)
			require.False(r, strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), isUnsafe), "%q is not safe to print", text)
		}
	})
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain é 日本": "plain é 日本", "a\nb\tc": "a b c", "\x1b[31mred": `\u001b[31mred`, "\u009b2J": `\u009b2J`, "x\u202ey": `x\u202ey`, "\x00": `\u0000`,
	} {
		assert.Equal(t, want, clean(in))
	}
	rapid.Check(t, func(r *rapid.T) {
		got := clean(string(rapid.SliceOf(rapid.Byte()).Draw(r, "bytes")))
		require.False(r, strings.ContainsFunc(got, unicode.IsControl), "%q", got)
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
			assert.False(t, strings.ContainsFunc(strings.ReplaceAll(got, "\n", ""), isUnsafe), "%q became %q", data, got)
		}
	})
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0ms", 999 * time.Millisecond: "999ms", time.Second: "1s", 1999 * time.Millisecond: "1.9s", 59900 * time.Millisecond: "59s",
		61 * time.Second: "1m01s", 3661 * time.Second: "1h01m", 49 * time.Hour: "2d",
	} {
		assert.Equal(t, want, formatDuration(d), int64(d))
	}
}

func TestFormatAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "now", 999 * time.Millisecond: "now", 1999 * time.Millisecond: "1s", 59 * time.Second: "59s", 61 * time.Second: "1m", 3661 * time.Second: "1h",
		49 * time.Hour: "2d",
	} {
		assert.Equal(t, want, formatAge(d), int64(d))
	}
}
