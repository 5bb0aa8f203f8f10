package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Break is one change that breaks a rule, and the test that must notice it.
type Break struct {
	// Law is what is broken: L01 to L14 are the laws of the engine, §2 to §11
	// the sections of contract/PROTOCOL.md.
	Law string
	// What says what was broken, in words.
	What string
	// File is changed: Old, which stands there exactly once, becomes New.
	File, Old, New string
	// Package and Run are the test: go test Package -run Run.
	Package, Run string
}

// broken returns the changed file's text.
func (b *Break) broken(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, b.File))
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(text), b.Old); n != 1 {
		return nil, fmt.Errorf("%s holds the text that is to be replaced %d times, not once: %q", b.File, n, b.Old)
	}
	return []byte(strings.Replace(string(text), b.Old, b.New, 1)), nil
}

// all are the breaks, the laws first.
func all() []Break {
	out := laws()
	out = append(out, serverRules()...)
	return append(out, clientRules()...)
}

// table is the list for people.
func table(breaks []Break) string {
	var b strings.Builder
	b.WriteString("| | what is broken | who notices |\n|---|---|---|\n")
	for _, it := range breaks {
		fmt.Fprintf(&b, "| %s | %s | `%s` in `%s` |\n", it.Law, it.What, strings.ReplaceAll(it.Run, "|", `\|`), strings.TrimPrefix(it.Package, "./"))
	}
	return b.String()
}
