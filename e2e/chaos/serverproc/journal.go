package serverproc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// What is what a handler has done.
type What string

// What handlers record.
const (
	Begin  What = "begin"
	Return What = "return"
)

// Entry is one line of a journal, in which handlers record what they do.
type Entry struct {
	// At is the time, by Now.
	At int64 `json:"at"`
	// Run is the number of the process, from 1.
	Run     int    `json:"run"`
	What    What   `json:"what"`
	ID      string `json:"id"`
	Action  string `json:"action"`
	Attempt int    `json:"attempt"`
	// Failed tells that the handler has returned an error.
	Failed bool `json:"failed,omitempty"`
}

// Now returns the machine's time in microseconds since 1970. It asks the
// kernel, because the clock of package time may jump in a run.
func Now() int64 {
	var t syscall.Timeval
	if err := syscall.Gettimeofday(&t); err != nil {
		panic(err) // it fails only when given a bad address
	}
	return t.Sec*1e6 + int64(t.Usec) //nolint:unconvert // it has 32 bits on some systems
}

// journal is a file to which processes append entries, one after the other. It
// is safe for concurrent use.
type journal struct {
	file *os.File
	run  int
}

func openJournal(name string, run int) (*journal, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	// End a line that the process before may have been killed in; the empty line
	// says that another process writes from here on.
	if _, err := f.WriteString("\n\n"); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &journal{f, run}, nil
}

// write appends an entry, with its time and process, in one write, which
// survives the process.
func (j *journal) write(e Entry) error {
	e.At, e.Run = Now(), j.run
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = j.file.Write(append(line, '\n'))
	return err
}

// LoadJournal reads a journal; one that does not exist is empty. It omits a line
// that was cut by the end of its process: what it announced has not happened.
func LoadJournal(name string) (out []Entry, err error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	torn := false
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		var e Entry
		switch {
		case len(line) == 0:
			torn = false
		case torn:
			return nil, fmt.Errorf("%s is damaged: a process wrote on after an incomplete line", name)
		case json.Unmarshal(line, &e) != nil:
			torn = true
		default:
			out = append(out, e)
		}
	}
	return out, err
}
