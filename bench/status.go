package main

import (
	"fmt"
	"io"
	"os"
)

// status is the line that says what is being measured; without a writer
// nothing is said.
type status struct{ w io.Writer }

// terminal returns the file if it is a terminal, else nil.
func terminal(f *os.File) io.Writer {
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return f
}

// say replaces the line.
func (s *status) say(format string, args ...any) {
	if s.w != nil {
		_, _ = fmt.Fprintf(s.w, "\r\x1b[K"+format, args...)
	}
}

func (s *status) clear() { s.say("") }
