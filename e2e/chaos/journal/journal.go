// Package journal is what the processes of a chaos run write down, line by
// line: handlers what they did, callers what they asked for and were told. It
// is written before a thing is done or handed on where that matters, so that
// whoever is killed leaves behind all that the others may have relied on.
package journal

import (
	"bufio"
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

// What handlers write.
const (
	// Begin: a handler began, or began to go on from behind chunk From-1.
	Begin What = "begin"
	// Return: it returned, with a code if that was an error.
	Return What = "return"
)

// What callers write.
const (
	// Ask comes before anything is sent: the id, the action and its input.
	Ask What = "ask"
	// Read: the reader begins anew, from the call's first event.
	Read What = "read"
	// Ack: the server has said that the call is stored, under the id To.
	Ack What = "ack"
	// Chunk, Mark and Progress were handed to the reader.
	Chunk    What = "chunk"
	Mark     What = "mark"
	Progress What = "progress"
	// List is all chunks at once, as the client library had collected them.
	List What = "list"
	// Refused: not now; the same id is sent again.
	Refused What = "refused"
	// End: nothing comes any more. Without a code, Data is the result.
	End What = "end"
)

// Entry is one line. Which fields are set depends on What.
type Entry struct {
	// At is when, by [Now].
	At int64 `json:"at"`
	// Run is the number of the process that wrote it, from 1.
	Run  int    `json:"run"`
	What What   `json:"what"`
	ID   string `json:"id"`

	Attempt int             `json:"attempt,omitempty"`
	Seq     uint64          `json:"seq,omitempty"`
	Void    int             `json:"void,omitempty"`
	From    int             `json:"from,omitempty"`
	Percent float64         `json:"percent,omitempty"`
	To      string          `json:"to,omitempty"`
	Code    string          `json:"code,omitempty"`
	Text    string          `json:"text,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`

	// Of what is asked for.
	Action  string   `json:"action,omitempty"`
	Options *Options `json:"options,omitempty"`
}

// Options are how something is asked for, and followed.
type Options struct {
	// Key is an idempotency key; others may ask with the same.
	Key string `json:"key,omitempty"`
	// DelayMs, TimeoutMs and LeashMs are the request's delay, timeout, and
	// cancel when nobody follows; 0: none.
	DelayMs   int `json:"delayMs,omitempty"`
	TimeoutMs int `json:"timeoutMs,omitempty"`
	LeashMs   int `json:"leashMs,omitempty"`
	// CancelMs is how long after the ack the call is cancelled; 0: not.
	CancelMs int `json:"cancelMs,omitempty"`
	// Collect leaves the list of chunks to the client library.
	Collect bool `json:"collect,omitempty"`
	// Look has the call read once more, from its first event, after its end.
	Look bool `json:"look,omitempty"`
	// May are the codes that the call may end with instead of its result.
	May []string `json:"may,omitempty"`
}

// Now returns the machine's time in microseconds since 1970. It asks the
// kernel, not package time, whose clock a run may step.
func Now() int64 {
	var t syscall.Timeval
	if err := syscall.Gettimeofday(&t); err != nil {
		panic(err) // it fails only when given a bad address
	}
	return t.Sec*1e6 + int64(t.Usec) //nolint:unconvert // it has 32 bits on some systems
}

// Writer appends to a journal. It is safe for concurrent use.
type Writer struct {
	f   *os.File
	run int
}

// Open opens a journal for the process with the given number, and makes it if
// there is none.
func Open(name string, run int) (*Writer, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	// The process before may have been killed in the middle of a line: that is
	// ended here, and an empty line says that somebody else goes on.
	if _, err := f.WriteString("\n\n"); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Writer{f, run}, nil
}

// Write appends an entry, with its time and process, in one write. That is
// what makes it outlive the process; a journal need not outlive the machine.
// An error is for the caller to die of: without a journal nothing is proved.
func (w *Writer) Write(e *Entry) error {
	e.At, e.Run = Now(), w.run
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = w.f.Write(append(line, '\n'))
	return err
}

// Close closes the journal.
func (w *Writer) Close() error { return w.f.Close() }

// Load reads a journal. A line that was cut by its writer's death is left out:
// nothing that it announced has happened. A journal that does not exist is
// empty.
func Load(name string) ([]Entry, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var out []Entry
	torn := 0
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if len(lines.Bytes()) == 0 {
			torn = 0 // a process began here, behind what the one before left
			continue
		}
		if torn > 0 {
			return nil, fmt.Errorf("%s: line %d is damaged, and its writer went on", name, torn)
		}
		var e Entry
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			torn = n
			continue
		}
		out = append(out, e)
	}
	return out, lines.Err()
}
