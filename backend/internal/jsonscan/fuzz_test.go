package jsonscan

import (
	"bytes"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"
)

// addVectors adds the frames of the contract's vectors. Outside of the repository
// there are none.
func addVectors(f *testing.F) {
	files, err := filepath.Glob("../../../contract/vectors/*/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var file struct{ Vectors []struct{ Frame string } }
		if err := json.Unmarshal(text, &file); err != nil {
			f.Fatalf("%s: %v", name, err)
		}
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
		const maxDepth = 64
		before := bytes.Clone(data)
		var s Scanner
		s.Reset(data, maxDepth)
		raw := s.RawValue()
		s.ExpectEnd()
		if want := utf8.Valid(data) && json.Valid(data); want != (s.Err() == nil) && s.Err() != ErrDepth {
			t.Fatalf("%q is JSON: %v; the scanner says: %v", data, want, s.Err())
		}
		if s.Offset() > len(data) {
			t.Fatal("the scanner is after the end")
		}
		if s.Err() == nil {
			if !bytes.Equal(raw, bytes.Trim(data, " \t\r\n")) {
				t.Fatalf("%q became %q", data, raw)
			}
			compare(t, raw)
		}
		if !bytes.Equal(before, data) {
			t.Fatal("the text was changed")
		}
	})
}

// compare compares what the scanner and encoding/json read in a valid text.
func compare(t *testing.T, text json.RawMessage) {
	var s Scanner
	s.Reset(text, 64)
	switch c := s.Peek(); {
	case c == '"':
		var want string
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if got, lone := s.String(); string(got) != want || lone && !bytes.ContainsRune(got, utf8.RuneError) {
			t.Fatalf("%s is %q, not %q", text, want, got)
		}
	case BeginsNumber(c):
		compareNumber(t, &s, text)
	case c == '[':
		var want []json.RawMessage
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		i := 0
		for more := s.Enter(']'); more; more = s.More(']') {
			raw := s.RawValue()
			if i >= len(want) || !bytes.Equal(raw, want[i]) {
				t.Fatalf("element %d of %s is %s", i, text, raw)
			}
			compare(t, raw)
			i++
		}
		if i != len(want) {
			t.Fatalf("%d elements in %s", i, text)
		}
	case c == '{':
		var want map[string]json.RawMessage
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		got := s.Fields()
		if s.Err() == ErrTwice {
			return
		}
		if len(got) != len(want) {
			t.Fatalf("%d fields in %s", len(got), text)
		}
		for name, raw := range got {
			if !bytes.Equal(raw, want[name]) {
				t.Fatalf("field %q of %s is %s", name, text, raw)
			}
			compare(t, raw)
		}
	default:
		s.SkipValue()
	}
	if s.ExpectEnd(); s.Err() != nil {
		t.Fatalf("%s: %v", text, s.Err())
	}
}

func compareNumber(t *testing.T, s *Scanner, text json.RawMessage) {
	number, plain := s.Number()
	if string(number) != string(text) || plain == bytes.ContainsAny(text, ".eE") {
		t.Fatalf("%s is %s, plain: %v", text, number, plain)
	}
	if len(text) > 100 || bytes.ContainsAny(text, "eE") && len(text) > 6 {
		return // big.Rat would take long
	}
	exact, _ := new(big.Rat).SetString(string(text))
	n, ok := Integer(number)
	limit := new(big.Rat).SetInt64(MaxSafeInteger)
	if want := exact.IsInt() && new(big.Rat).Abs(exact).Cmp(limit) <= 0; want != ok || ok && exact.Cmp(new(big.Rat).SetInt64(n)) != 0 {
		t.Fatalf("%s is %d, %v", text, n, ok)
	}
}
