package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// writeFiles writes the files that differ; with check, it names them instead,
// and shows where they differ.
func writeFiles(root string, files map[string][]byte, check bool) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path, want := filepath.Join(root, name), files[name]
		have, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		switch {
		case err == nil && bytes.Equal(have, want):
		case check:
			errs = append(errs, fmt.Errorf("%s is not what `make generate` writes\n%s", name, difference(have, want)))
		default:
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				return err
			}
		}
	}
	return errors.Join(errs...)
}

// findStray names Go files in the copies that their source does not have, and
// generated files in the source that are no longer generated.
func findStray(root string, files map[string][]byte) error {
	reasons := map[string]string{wire + "/*_gen.go": "is not generated any more"}
	for from, to := range copies {
		reasons[to+"/*.go"] = "has no counterpart in " + from
	}
	var errs []error
	for _, pattern := range slices.Sorted(maps.Keys(reasons)) {
		have, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, path := range have {
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			if _, ok := files[name]; !ok {
				errs = append(errs, fmt.Errorf("%s %s: delete it", name, reasons[pattern]))
			}
		}
	}
	return errors.Join(errs...)
}

// shown is the number of lines of each side in a difference.
const shown = 5

// difference shows the lines between the common beginning and the common end of two
// texts.
func difference(have, want []byte) string {
	a, b := strings.Split(string(have), "\n"), strings.Split(string(want), "\n")
	if len(have) == 0 {
		return "  the file is missing, or empty"
	}
	first := 0
	for first < min(len(a), len(b)) && a[first] == b[first] {
		first++
	}
	last := 0
	for last < min(len(a), len(b))-first && a[len(a)-1-last] == b[len(b)-1-last] {
		last++
	}
	var out strings.Builder
	fmt.Fprintf(&out, "  at line %d:", first+1)
	side := func(sign string, lines []string) {
		for i, line := range lines {
			if i == shown {
				fmt.Fprintf(&out, "\n  %s … %d lines more", sign, len(lines)-i)
				return
			}
			fmt.Fprintf(&out, "\n  %s %s", sign, line)
		}
	}
	side("-", a[first:len(a)-last])
	side("+", b[first:len(b)-last])
	return out.String()
}
