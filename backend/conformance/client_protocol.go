package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ClientProtocol is the version of the protocol between the player and a client
// under test in a process of its own: contract/sessions/CLIENTS.md.
const ClientProtocol = 1

// clientLineLimit is the longest line of that protocol, in bytes. A reader is
// handed at most a result of 96 KiB, which may be longer with its escapes.
const clientLineLimit = 1 << 20

// command is a line to a client under test.
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

// answer is a line of a client's, behind its hello.
type answer struct {
	N     int             `json:"n"`
	Error string          `json:"error"`
	Event json.RawMessage `json:"event"`
}

// readLines reads the client's standard output until its end.
func (c *ClientProcess) readLines(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, clientLineLimit)
	for s.Scan() {
		if len(bytes.TrimSpace(s.Bytes())) > 0 {
			c.lines <- bytes.Clone(s.Bytes())
		}
	}
	switch err := s.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		c.ended = fmt.Errorf("the client wrote a line of more than %d bytes", clientLineLimit)
	case err != nil:
		c.ended = fmt.Errorf("the client's standard output cannot be read: %w", err)
	default:
		c.ended = errors.New("the client has closed its standard output")
	}
	close(c.lines)
	_, _ = io.Copy(io.Discard, r) // otherwise the client could block on writing
}

// receive returns the next line.
func (c *ClientProcess) receive(ctx context.Context) ([]byte, error) {
	select {
	case line, ok := <-c.lines:
		if !ok {
			return nil, c.ended
		}
		return line, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// execute sends a command, and waits for its answer.
func (c *ClientProcess) execute(ctx context.Context, what *command) error {
	ctx, cancel := context.WithTimeout(ctx, clientAnswerTime)
	defer cancel()
	err := c.writeCommand(what)
	if err == nil {
		_, err = c.answerTo(ctx, what)
	}
	return c.explain(err)
}

// writeCommand numbers and writes a command.
func (c *ClientProcess) writeCommand(what *command) error {
	c.commands++
	what.N = c.commands
	line, err := json.Marshal(what)
	if err == nil {
		_, err = c.input.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("the command %s cannot be sent to the client: %w", what.Command, err)
	}
	return nil
}

// answerTo waits for the answer to a command. What a client cannot do is an
// error.
func (c *ClientProcess) answerTo(ctx context.Context, what *command) (*answer, error) {
	line, err := c.receive(ctx)
	if err != nil {
		return nil, fmt.Errorf("the client does not answer %s: %w", what.Command, err)
	}
	var a answer
	switch err := json.Unmarshal(line, &a); {
	case err != nil || a.N != what.N:
		return nil, unexpectedLine(line)
	case a.Error != "":
		return nil, fmt.Errorf("the client cannot %s: %s", what.Command, brief([]byte(a.Error)))
	}
	return &a, nil
}

// unexpectedLine says what is wrong with a line that nothing waits for.
func unexpectedLine(line []byte) error {
	if json.Unmarshal(line, new(answer)) != nil {
		return fmt.Errorf("the client wrote a line that is no answer: %s", brief(line))
	}
	return fmt.Errorf("the client answered what it was not asked, or twice: %s", brief(line))
}
