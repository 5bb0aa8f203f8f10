package jsonscan

import (
	"bytes"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// addVectors adds the frames of the contract's vectors. Outside of the repository
// there are none.
func addVectors(f *testing.F) {
	files, err := filepath.Glob("../../../contract/vectors/*/*.json")
	require.NoError(f, err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		var file struct{ Vectors []struct{ Frame string } }
		require.NoError(f, json.Unmarshal(text, &file), name)
		for _, v := range file.Vectors {
			f.Add([]byte(v.Frame))
		}
	}
}

// FuzzScanner compares the scanner with encoding/json, which accepts the same
// grammar, but any depth and bytes that are not UTF-8.
func FuzzScanner(f *testing.F) {
	addVectors(f)
	for _, text := range []string{
		``, `{"a":1,"\u0061":2}`, `"\ud800\ud83d\ude00\n"`, `[1.0,-0,1e2,9007199254740993e-0]`, "\"\xff\"", `{"a":[{"b":null}],"c":"d"} x`, "\"\x1f\"", "[1]\x00",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		var s Scanner
		s.Reset(data, 64)
		raw := s.RawValue()
		s.ExpectEnd()
		if want := utf8.Valid(data) && json.Valid(data); want != (s.Err() == nil) && s.Err() != ErrDepth {
			t.Fatalf("%q is JSON: %v; the scanner says: %v", data, want, s.Err())
		}
		require.LessOrEqual(t, s.Offset(), len(data))
		if s.Err() == nil {
			require.Equal(t, string(bytes.Trim(data, " \t\r\n")), string(raw))
			compare(t, raw)
		}
		require.True(t, bytes.Equal(before, data), "the text was changed")
	})
}

// compare compares what the scanner and encoding/json read in a valid text.
func compare(t *testing.T, text json.RawMessage) {
	var s Scanner
	s.Reset(text, 64)
	switch c := s.Peek(); {
	case c == '"':
		var want string
		require.NoError(t, json.Unmarshal(text, &want))
		got, lone := s.String()
		require.Equal(t, want, string(got))
		require.True(t, !lone || bytes.ContainsRune(got, utf8.RuneError))
	case BeginsNumber(c):
		compareNumber(t, &s, text)
	case c == '[':
		var want, got []json.RawMessage
		require.NoError(t, json.Unmarshal(text, &want))
		for more := s.Enter(']'); more; more = s.More(']') {
			got = append(got, s.RawValue())
			compare(t, got[len(got)-1])
		}
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, string(want[i]), string(got[i]))
		}
	case c == '{':
		var want map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(text, &want))
		got := s.Fields()
		if s.Err() == ErrTwice {
			return
		}
		require.Equal(t, want, got)
		for _, raw := range got {
			compare(t, raw)
		}
	default:
		s.SkipValue()
	}
	s.ExpectEnd()
	require.NoError(t, s.Err(), "%s", text)
}

func compareNumber(t *testing.T, s *Scanner, text json.RawMessage) {
	number, plain := s.Number()
	require.Equal(t, string(text), string(number))
	require.NotEqual(t, bytes.ContainsAny(text, ".eE"), plain)
	if len(text) > 100 || bytes.ContainsAny(text, "eE") && len(text) > 6 {
		return // big.Rat would take long
	}
	requireExact(t, string(text))
}

// requireExact checks that Integer agrees with exact arithmetic.
func requireExact(t *testing.T, text string) {
	exact, ok := new(big.Rat).SetString(text)
	require.True(t, ok, text)
	limit := new(big.Rat).SetInt64(MaxSafeInteger)
	n, got := Integer([]byte(text))
	require.Equal(t, exact.IsInt() && new(big.Rat).Abs(exact).Cmp(limit) <= 0, got, text)
	if got {
		require.Zero(t, exact.Cmp(new(big.Rat).SetInt64(n)), "%s is read as %d", text, n)
	}
}
