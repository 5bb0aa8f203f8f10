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

// What is what an entry is about.
type What string

// What servers and clients record.
const (
	// Begin: a handler began, at chunk From.
	Begin What = "begin"
	// Return: it returned, with a code if it failed.
	Return What = "return"

	// Ask is written before anything is sent: the id, the action and its input.
	Ask What = "ask"
	// Read: the reader starts again at the call's first event.
	Read What = "read"
	// Ack: the server has said that the call is stored, under the id To.
	Ack What = "ack"
	// ChunkRead, Attempt and Progress are events that the reader got.
	ChunkRead What = "chunk"
	Attempt   What = "attempt"
	Progress  What = "progress"
	// List is all chunks at once, as the client library collected them.
	List What = "list"
	// Refused: not now; the same id is sent again.
	Refused What = "refused"
	// End: no more events come. Without a code, Data is the result.
	End What = "end"
)

// Entry is one line of a journal. Which fields are set depends on What.
type Entry struct {
	// At is the time, by Now.
	At int64 `json:"at"`
	// Run is the number of the process that wrote it, from 1.
	Run  int    `json:"run"`
	What What   `json:"what"`
	ID   string `json:"id"`

	Attempt   int             `json:"attempt,omitempty"`
	Seq       uint64          `json:"seq,omitempty"`
	Discarded int             `json:"discarded,omitempty"`
	From      int             `json:"from,omitempty"`
	Percent   float64         `json:"percent,omitempty"`
	To        string          `json:"to,omitempty"`
	Code      string          `json:"code,omitempty"`
	Text      string          `json:"text,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`

	Action  string   `json:"action,omitempty"`
	Options *Options `json:"options,omitempty"`
}

// Options are how a call is requested and followed.
type Options struct {
	// Key is an idempotency key; another call may have the same.
	Key string `json:"key,omitempty"`
	// DelayMs, TimeoutMs and CancelAfterMs are the request's; 0: none.
	DelayMs       int `json:"delayMs,omitempty"`
	TimeoutMs     int `json:"timeoutMs,omitempty"`
	CancelAfterMs int `json:"cancelAfterMs,omitempty"`
	// CancelMs is how long after the ack the call is cancelled; 0: not.
	CancelMs int `json:"cancelMs,omitempty"`
	// Collect leaves it to the client library to collect the chunks.
	Collect bool `json:"collect,omitempty"`
	// Reread has the call read again, from its first event, after its end.
	Reread bool `json:"reread,omitempty"`
	// May are the codes that the call may end with instead of its result.
	May []string `json:"may,omitempty"`
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

// Journal is a file to which processes append what happens, before others can
// depend on it. It is safe for concurrent use.
type Journal struct {
	file *os.File
	run  int
}

// OpenJournal opens or creates a journal for the process with that number.
func OpenJournal(name string, run int) (*Journal, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	// End a line that the process before may have been killed in; the empty line
	// says that another process writes from here on.
	if _, err := f.WriteString("\n\n"); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Journal{f, run}, nil
}

// Write appends an entry, with its time and process, in one write, which
// survives the process. A run whose journal cannot be written proves nothing.
func (j *Journal) Write(e *Entry) error {
	e.At, e.Run = Now(), j.run
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = j.file.Write(append(line, '\n'))
	return err
}

// Close closes the journal.
func (j *Journal) Close() error { return j.file.Close() }

// LoadJournal reads a journal; one that does not exist is empty. It omits a line
// that was cut by the end of its process: what it announced has not happened.
func LoadJournal(name string) (out []Entry, err error) {
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
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
	return out, nil
}
