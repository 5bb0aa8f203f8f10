package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ClientProtocol is the version of the protocol by which the player speaks to
// a client under test in a process of its own: contract/sessions/CLIENTS.md.
const ClientProtocol = 1

// clientLine is the longest line of that protocol, in bytes. A reader is
// handed at most a result of 96 KiB, which may be longer with its escapes.
const clientLine = 1 << 20

// command is what a client under test is told. The fields that a command does
// not have are not written.
type command struct {
	N       int             `json:"n"`
	Command string          `json:"command"`
	URL     string          `json:"url,omitempty"`
	Tokens  []string        `json:"tokens,omitempty"`
	Call    string          `json:"call,omitempty"`
	Request json.RawMessage `json:"request,omitempty"`
	ID      string          `json:"id,omitempty"`
	Take    int             `json:"take,omitempty"`
	Ms      int64           `json:"ms,omitempty"`
}

// hello is a client's first line.
type hello struct {
	Version   int       `json:"hello"`
	Client    string    `json:"client"`
	Abilities []Ability `json:"abilities"`
}

// answer is every other line of a client.
type answer struct {
	N     int             `json:"n"`
	Error string          `json:"error"`
	Event json.RawMessage `json:"event"`
}

// lines are both directions of a client's protocol. A goroutine reads until
// the client's output ends.
type lines struct {
	writing sync.Mutex
	w       io.Writer
	n       int

	hello   chan hello    // holds the first line, when it has come
	done    chan struct{} // closed when nothing more will be understood
	drained chan struct{} // closed when nothing more will come

	mu      sync.Mutex
	waiting map[int]chan answer
	why     error // why reading has ended
}

func newLines(w io.Writer, r io.Reader) *lines {
	l := &lines{w: w, hello: make(chan hello, 1), done: make(chan struct{}), drained: make(chan struct{}), waiting: map[int]chan answer{}}
	go func() {
		defer close(l.drained)
		err := l.read(r)
		l.mu.Lock()
		l.why = err
		l.mu.Unlock()
		close(l.done)
		_, _ = io.Copy(io.Discard, r) // or else the client could not write on, and not end
	}()
	return l
}

// read takes line after line, until one is none of the protocol.
func (l *lines) read(r io.Reader) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), clientLine)
	if !s.Scan() {
		return l.ended(s.Err())
	}
	var h hello
	if err := json.Unmarshal(s.Bytes(), &h); err != nil || h.Version == 0 {
		return fmt.Errorf(`the first line of the client must be {"hello": %d, …}, not %s`, ClientProtocol, brief(s.Bytes()))
	}
	l.hello <- h
	for s.Scan() {
		if err := l.take(s.Bytes()); err != nil {
			return err
		}
	}
	return l.ended(s.Err())
}

func (*lines) ended(err error) error {
	switch {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("the client wrote a line of more than %d bytes", clientLine)
	case err != nil:
		return fmt.Errorf("the client cannot be heard: %w", err)
	}
	return errors.New("the client has closed its standard output")
}

// take gives an answer to whoever waits for it.
func (l *lines) take(line []byte) error {
	if len(bytes.TrimSpace(line)) == 0 {
		return nil
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return fmt.Errorf("the client wrote a line that is no answer: %s", brief(line))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting, ok := l.waiting[a.N]
	if !ok {
		return fmt.Errorf("the client answered what it was not asked, or twice: %s", brief(line))
	}
	delete(l.waiting, a.N)
	a.Event = bytes.Clone(a.Event)
	waiting <- a // holds one
	return nil
}

// send writes a command, and returns its number and where its answer comes.
func (l *lines) send(c command) (n int, reply <-chan answer, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.n++
	c.N = l.n
	line, err := json.Marshal(c)
	if err != nil {
		return 0, nil, err
	}
	waiting := make(chan answer, 1)
	l.mu.Lock()
	l.waiting[c.N] = waiting
	l.mu.Unlock()
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		if ended := l.end(); ended != nil {
			err = ended
		}
		return 0, nil, fmt.Errorf("the client cannot be told to %s: %w", c.Command, err)
	}
	return c.N, waiting, nil
}

// end returns why reading has ended, nil while it has not.
func (l *lines) end() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// await waits for an answer. What the client says it could not do is an error.
func (l *lines) await(ctx context.Context, what string, reply <-chan answer) (answer, error) {
	select {
	case a := <-reply:
		return told(what, a)
	case <-l.done:
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	select {
	case a := <-reply: // it was the last line
		return told(what, a)
	default:
		return answer{}, fmt.Errorf("the client does not answer %s: %w", what, l.end())
	}
}

func told(what string, a answer) (answer, error) {
	if a.Error != "" {
		return a, fmt.Errorf("the client cannot %s: %s", what, brief([]byte(a.Error)))
	}
	return a, nil
}
