package main

import (
	"fmt"
	"os"
)

// status is the line on a terminal that says what is being measured. Where
// there is no terminal, nothing is said.
type status struct{ terminal *os.File }

func newStatus(f *os.File) *status {
	if f == nil {
		return &status{}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &status{}
	}
	return &status{f}
}

// say replaces the line.
func (s *status) say(format string, args ...any) {
	if s.terminal != nil {
		_, _ = fmt.Fprintf(s.terminal, "\r\x1b[K"+format, args...)
	}
}

func (s *status) clear() { s.say("") }
