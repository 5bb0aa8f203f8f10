package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// status says what is being measured: on a terminal on one line, elsewhere on
// a line for each table. Without a writer nothing is said.
type status struct {
	w io.Writer
	// plain is of writers that are no terminal.
	plain bool
	since time.Time
	// table is the i-th of so many.
	table string
	i, of int
}

// newStatus returns a status on a file.
func newStatus(f *os.File) *status {
	info, err := f.Stat()
	return &status{w: f, plain: err != nil || info.Mode()&os.ModeCharDevice == 0, since: time.Now()}
}

// begin says which table is made.
func (s *status) begin(name string) {
	s.i++
	s.table = fmt.Sprintf("%2d/%d %s", s.i, s.of, name)
	if s.w != nil && s.plain {
		_, _ = fmt.Fprintf(s.w, "%6s  %s\n", time.Since(s.since).Round(time.Second), s.table)
	}
}

// say says what is being measured.
func (s *status) say(format string, args ...any) {
	if s.w != nil && !s.plain {
		_, _ = fmt.Fprintf(s.w, "\r\x1b[K%s: "+format, append([]any{s.table}, args...)...)
	}
}

// clear takes away what was said.
func (s *status) clear() {
	if s.w != nil && !s.plain {
		_, _ = io.WriteString(s.w, "\r\x1b[K")
	}
}
