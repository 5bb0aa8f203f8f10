package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// copyOf copies the part of the repository that the generator reads.
func copyOf(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{schemaFile, codesFile} {
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		writeFile(t, dir, name, string(text))
	}
	writeFile(t, dir, filepath.Join(wire, "scanner.go"), "package wire\n\nimport _ \"github.com/pay-theory/streamer/backend/internal/jsonscan\"\n")
	writeFile(t, dir, filepath.Join(wire, "scanner_test.go"), "package wire\n")
	writeFile(t, dir, "backend/internal/jsonscan/scanner.go", "package jsonscan\n")
	require.NoError(t, run(dir, false))
	return dir
}

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

// The files in the repository are the output of the generator.
func TestNothingIsStale(t *testing.T) {
	require.NoError(t, run(root, true))
}

func TestTheSameBytesEachTime(t *testing.T) {
	first, err := generate(root)
	require.NoError(t, err)
	for range 5 { // maps go another way each time
		again, err := generate(root)
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
}

func TestCheckNamesTheFileAndTheLine(t *testing.T) {
	generated := filepath.Join(wire, "client_message_gen.go")
	for name, tc := range map[string]struct {
		file     string
		from, to string // without from, the file holds to, or does not exist
		want     []string
	}{
		"nothing": {schemaFile, "schema", "schema", nil},
		"a line was changed": {
			generated, "MaxRef", "37",
			[]string{generated + " is not what", "at line ", `- `, `"ref", 1, 37`, `"ref", 1, MaxRef`},
		},
		"a file is missing": {generated, "", "", []string{generated, "missing"}},
		"a copy was edited": {
			copies[wire] + "/scanner.go", "package wire", "package wire // mine",
			[]string{copies[wire] + "/scanner.go is not what", "at line 1:", "- package wire // mine", "+ package wire"},
		},
		"the other copy was edited": {
			"client-go/internal/jsonscan/scanner.go", "", "package scan\n",
			[]string{"client-go/internal/jsonscan/scanner.go is not what", "+ package jsonscan"},
		},
		"a copy too much": {
			copies[wire] + "/other.go", "", "package wire\n",
			[]string{copies[wire] + "/other.go has no counterpart in " + wire},
		},
		"a test was copied": {
			copies[wire] + "/scanner_test.go", "", "package wire\n",
			[]string{copies[wire] + "/scanner_test.go has no counterpart"},
		},
		"a generated file too much": {
			wire + "/old_gen.go", "", "package wire\n",
			[]string{wire + "/old_gen.go is not generated any more"},
		},
		"the schema was changed": {
			schemaFile, `"maxLength": 36`, `"maxLength": 40`,
			[]string{wire + "/protocol_gen.go is not what", "MaxRef", "40", copies[wire] + "/protocol_gen.go is not what"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyOf(t)
			path := filepath.Join(dir, tc.file)
			switch {
			case tc.from != "":
				old, err := os.ReadFile(path)
				require.NoError(t, err)
				writeFile(t, dir, tc.file, strings.Replace(string(old), tc.from, tc.to, 1))
			case tc.to != "":
				writeFile(t, dir, tc.file, tc.to)
			default:
				require.NoError(t, os.Remove(path))
			}
			err := run(dir, true)
			if tc.want == nil {
				require.NoError(t, err)
			}
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

// A long difference is truncated.
func TestDifferenceIsShort(t *testing.T) {
	got := difference([]byte("a\n"+strings.Repeat("b\n", 100)+"c"), []byte("a\nc"))
	require.LessOrEqual(t, strings.Count(got, "\n"), 2*shown+2)
	require.Contains(t, got, "95 lines more")
}
