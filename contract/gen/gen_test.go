package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copyOf copies the part of the repository that the generator reads.
func copyOf(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{schemaFile, codesFile} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, dir, name, string(text))
	}
	writeFile(t, dir, filepath.Join(wire, "scanner.go"), "package wire\n\nimport _ \"github.com/pay-theory/streamer/backend/internal/jsonscan\"\n")
	writeFile(t, dir, filepath.Join(wire, "scanner_test.go"), "package wire\n")
	writeFile(t, dir, "backend/internal/jsonscan/scanner.go", "package jsonscan\n")
	if err := run(dir, false); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The files in the repository are the output of the generator.
func TestNothingIsStale(t *testing.T) {
	if err := run(root, true); err != nil {
		t.Fatal(err)
	}
}

func TestTheSameBytesEachTime(t *testing.T) {
	first, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // maps go another way each time
		again, err := generate(root)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) != len(first) {
			t.Fatalf("%d files, and then %d", len(first), len(again))
		}
		for name, text := range first {
			if !bytes.Equal(text, again[name]) {
				t.Fatalf("%s is written in two ways\n%s", name, difference(text, again[name]))
			}
		}
	}
}

func TestCheckNamesTheFileAndTheLine(t *testing.T) {
	generated := filepath.Join(wire, "client_message_gen.go")
	for name, tc := range map[string]struct {
		change func(t *testing.T, dir string)
		want   []string
	}{
		"nothing": {func(*testing.T, string) {}, nil},
		"a line was changed": {func(t *testing.T, dir string) {
			text, err := os.ReadFile(filepath.Join(dir, generated))
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, dir, generated, strings.Replace(string(text), "MaxRef", "37", 1))
		}, []string{generated + " is not what", "at line ", `- `, `"ref", 1, 37`, `"ref", 1, MaxRef`}},
		"a file is missing": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, generated)); err != nil {
				t.Fatal(err)
			}
		}, []string{generated, "missing"}},
		"a copy was edited": {
			func(t *testing.T, dir string) {
				writeFile(t, dir, copies[wire]+"/scanner.go", "package wire // mine\n\nimport _ \"github.com/pay-theory/streamer/client-go/internal/jsonscan\"\n")
			},
			[]string{copies[wire] + "/scanner.go is not what", "at line 1:", "- package wire // mine", "+ package wire"},
		},
		"the other copy was edited": {
			func(t *testing.T, dir string) {
				writeFile(t, dir, "client-go/internal/jsonscan/scanner.go", "package scan\n")
			},
			[]string{"client-go/internal/jsonscan/scanner.go is not what", "+ package jsonscan"},
		},
		"a copy too much": {
			func(t *testing.T, dir string) { writeFile(t, dir, copies[wire]+"/other.go", "package wire\n") },
			[]string{copies[wire] + "/other.go has no counterpart in " + wire},
		},
		"a test was copied": {
			func(t *testing.T, dir string) { writeFile(t, dir, copies[wire]+"/scanner_test.go", "package wire\n") },
			[]string{copies[wire] + "/scanner_test.go has no counterpart"},
		},
		"a generated file too much": {
			func(t *testing.T, dir string) { writeFile(t, dir, wire+"/old_gen.go", "package wire\n") },
			[]string{wire + "/old_gen.go is not generated any more"},
		},
		"the schema was changed": {func(t *testing.T, dir string) {
			text, err := os.ReadFile(filepath.Join(dir, schemaFile))
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, dir, schemaFile, strings.Replace(string(text), `"maxLength": 36`, `"maxLength": 40`, 1))
		}, []string{wire + "/protocol_gen.go is not what", "MaxRef", "40", copies[wire] + "/protocol_gen.go is not what"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyOf(t)
			tc.change(t, dir)
			err := run(dir, true)
			if (err == nil) != (tc.want == nil) {
				t.Fatalf("-check said: %v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("-check does not say %q, but\n%v", want, err)
				}
			}
		})
	}
}

// A long difference is truncated.
func TestDifferenceIsShort(t *testing.T) {
	got := difference([]byte("a\n"+strings.Repeat("b\n", 100)+"c"), []byte("a\nc"))
	if lines := strings.Count(got, "\n"); lines > 2*shown+2 || !strings.Contains(got, "95 lines more") {
		t.Fatal(got)
	}
}
