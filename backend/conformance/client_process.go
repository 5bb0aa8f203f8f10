package conformance

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// clientStartTime is how long a client may take to start.
	clientStartTime = time.Minute
	// clientAnswerTime is how long it may take to answer a command.
	clientAnswerTime = time.Minute
	// clientErrorBytes is how much is kept of its standard error.
	clientErrorBytes = 4 << 10
)

// ClientOptions says how a client under test is run.
type ClientOptions struct {
	// Command is a program with its arguments. It is not given to a shell.
	Command []string
	// End is how long a client may take to end when it was told to. Default
	// 60 s.
	End time.Duration
}

// ClientProcess is a client in a process of its own, as a target. It gets
// commands on its standard input, and writes to its standard output what its
// readers are handed: see contract/sessions/CLIENTS.md. Each transcript gets a
// process of its own.
type ClientProcess struct {
	name      string
	abilities []Ability
	endTime   time.Duration
	listener  *Listener
	web       *http.Server
	cmd       *exec.Cmd
	input     io.WriteCloser
	output    io.ReadCloser
	stderr    *tail
	lines     chan []byte   // those of the standard output, closed at its end
	ended     error         // why it has ended; set before lines is closed
	exited    chan error    // gets the result of the process
	commands  int           // how many commands were written
	offset    time.Duration // by how much the client's clock was moved
}

// StartClient starts a client for one transcript, and lets it connect to a
// listener of its own on this machine. Errors are the command's, or those of
// the protocol.
func StartClient(ctx context.Context, t *Transcript, o *ClientOptions) (*ClientProcess, error) {
	if len(o.Command) == 0 {
		return nil, errors.New("there is no command to start a client by")
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &ClientProcess{
		listener: NewListener(), endTime: cmp.Or(o.End, time.Minute),
		lines: make(chan []byte), exited: make(chan error, 1), stderr: &tail{limit: clientErrorBytes},
	}
	c.web = &http.Server{Handler: c.listener, ReadHeaderTimeout: clientAnswerTime}
	if err := c.startProcess(o.Command); err != nil {
		return nil, errors.Join(fmt.Errorf("the client cannot be started: %w", err), l.Close())
	}
	go func() { _ = c.web.Serve(l) }()
	err = c.readHello(ctx)
	if err == nil {
		err = c.execute(ctx, &command{Command: "open", URL: "ws://" + l.Addr().String() + "/", Tokens: t.Tokens})
	}
	if err != nil {
		return nil, errors.Join(err, c.endProcess(true)) //nolint:contextcheck // a process must end even if the context has ended
	}
	return c, nil
}

func (c *ClientProcess) startProcess(argv []string) error {
	c.cmd = exec.Command(argv[0], argv[1:]...) //nolint:gosec // the user's own command line
	c.cmd.Stderr = c.stderr
	c.cmd.WaitDelay = c.endTime // for processes that inherited its standard error
	var errIn, errOut error
	c.input, errIn = c.cmd.StdinPipe()
	c.output, errOut = c.cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut); err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	go func() {
		c.readLines(c.output)
		c.exited <- c.cmd.Wait()
	}()
	return nil
}

// readHello reads the first line, in which the client says who it is.
func (c *ClientProcess) readHello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, clientStartTime)
	defer cancel()
	line, err := c.readLine(ctx)
	var hello struct {
		Version   int       `json:"hello"`
		Client    string    `json:"client"`
		Abilities []Ability `json:"abilities"`
	}
	surplus := func() []Ability { return missing(hello.Abilities, []Ability{AbilityClock, AbilityHandshake}) }
	switch {
	case err != nil:
		err = fmt.Errorf("the client does not say hello: %w", err)
	case json.Unmarshal(line, &hello) != nil || hello.Version == 0:
		err = fmt.Errorf(`the first line of the client must be {"hello": %d, …}, not %s`, ClientProtocol, brief(line))
	case hello.Version != ClientProtocol:
		err = fmt.Errorf("the client speaks version %d of the protocol for clients under test, the player version %d",
			hello.Version, ClientProtocol)
	case len(surplus()) > 0:
		err = fmt.Errorf("a client has the ability %q or %q, not %q", AbilityClock, AbilityHandshake, surplus()[0])
	}
	c.name, c.abilities = hello.Client, hello.Abilities
	return c.explain(err)
}

// Name is what the client calls itself.
func (c *ClientProcess) Name() string { return c.name }

// Abilities returns those of the client.
func (c *ClientProcess) Abilities() []Ability { return c.abilities }

// Now returns the client's time.
func (c *ClientProcess) Now() time.Time { return time.Now().Add(c.offset) }

func (*ClientProcess) realTime() {} // its clock runs on by itself

// Advance moves the client's clock.
func (c *ClientProcess) Advance(ctx context.Context, d time.Duration) error {
	c.offset += d
	return c.execute(ctx, &command{Command: "advance", Ms: d.Milliseconds()})
}

// Accept waits for the client's next attempt to connect, or for its end.
func (c *ClientProcess) Accept(ctx context.Context) (Dial, error) {
	select {
	case d := <-c.listener.dials:
		return d, nil
	case line, ok := <-c.lines:
		if !ok {
			return nil, c.explain(c.ended)
		}
		return nil, unexpectedLine(line)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Start starts a call; see [ClientTarget].
func (c *ClientProcess) Start(ctx context.Context, call string, request json.RawMessage) error {
	return c.execute(ctx, &command{Command: "start", Call: call, Request: request})
}

// Attach follows a call; see [ClientTarget].
func (c *ClientProcess) Attach(ctx context.Context, call, id string) error {
	return c.execute(ctx, &command{Command: "attach", Call: call, ID: id})
}

// Cancel cancels a call; see [ClientTarget].
func (c *ClientProcess) Cancel(ctx context.Context, call string) error {
	return c.execute(ctx, &command{Command: "cancel", Call: call})
}

// Detach stops following a call; see [ClientTarget].
func (c *ClientProcess) Detach(ctx context.Context, call string) error {
	return c.execute(ctx, &command{Command: "detach", Call: call})
}

// Next lets the reader of a call take one event. When ctx ends before there is
// one, the take is withdrawn, so that nothing is taken between two calls.
func (c *ClientProcess) Next(ctx context.Context, call string) (json.RawMessage, error) {
	take := &command{Command: "take", Call: call}
	a, err := c.ask(ctx, take)
	ended := ctx.Err()
	if ended != nil && errors.Is(err, ended) {
		a, err = c.withdraw(context.WithoutCancel(ctx), take)
	}
	switch {
	case err != nil:
		return nil, err
	case len(a.Event) > 0 && string(a.Event) != "null":
		return a.Event, nil
	case ended != nil:
		return nil, ended
	}
	return nil, fmt.Errorf("the client answers a take of %s with no event, though it was not withdrawn", call)
}

// withdraw withdraws a take, and returns its answer, which comes before that of
// the untake.
func (c *ClientProcess) withdraw(ctx context.Context, take *command) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, clientAnswerTime)
	defer cancel()
	untake := &command{Command: "untake", Take: take.N}
	if err := c.write(untake); err != nil {
		return nil, err
	}
	a, err := c.answerTo(ctx, take)
	if err == nil {
		_, err = c.answerTo(ctx, untake)
	}
	return a, err
}

// explain adds the client's standard error to an error.
func (c *ClientProcess) explain(err error) error {
	text := c.stderr.String()
	if err == nil || text == "" || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w; its standard error ends with: %s", err, text)
}

// Close tells the client to end, and waits until it has. A client that does
// not end by itself, or not with exit code 0, has failed.
func (c *ClientProcess) Close() error { return c.endProcess(false) }

func (c *ClientProcess) endProcess(kill bool) error {
	var err error
	if kill {
		c.kill()
	} else {
		err = c.execute(context.Background(), &command{Command: "close"})
	}
	_ = c.input.Close()
	late := time.AfterFunc(c.endTime, c.kill)
	for range c.lines {
		// What the client still says is of no use.
	}
	exit := <-c.exited
	inTime := late.Stop()
	_ = c.web.Close()
	switch {
	case kill:
		return nil
	case !inTime:
		return errors.Join(err, fmt.Errorf("the client did not end within %s", c.endTime))
	case exit != nil:
		return errors.Join(err, c.explain(fmt.Errorf("the client ended badly: %w", exit)))
	}
	return err
}

// kill ends the process, and the reading of its output: another process may hold
// the pipe open.
func (c *ClientProcess) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.output.Close()
}

// tail keeps the end of what is written to it.
type tail struct {
	limit int
	mu    sync.Mutex
	text  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	t.text = append(t.text[:0], t.text[max(0, len(t.text)-t.limit):]...)
	return len(b), nil
}

// String returns it on one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(t.text), "�")), " ")
}

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

// readLine returns the next line.
func (c *ClientProcess) readLine(ctx context.Context) ([]byte, error) {
	line, err := receive(ctx, c.lines)
	if err == nil && line == nil {
		return nil, c.ended
	}
	return line, err
}

// execute sends a command, and waits for its answer.
func (c *ClientProcess) execute(ctx context.Context, what *command) error {
	ctx, cancel := context.WithTimeout(ctx, clientAnswerTime)
	defer cancel()
	_, err := c.ask(ctx, what)
	return err
}

// ask sends a command, and returns its answer.
func (c *ClientProcess) ask(ctx context.Context, what *command) (*answer, error) {
	if err := c.write(what); err != nil {
		return nil, err
	}
	return c.answerTo(ctx, what)
}

// write numbers a command and sends it.
func (c *ClientProcess) write(what *command) error {
	c.commands++
	what.N = c.commands
	line, err := json.Marshal(what)
	if err == nil {
		_, err = c.input.Write(append(line, '\n'))
	}
	if err != nil {
		return c.explain(fmt.Errorf("the command %s cannot be sent to the client: %w", what.Command, err))
	}
	return nil
}

// answerTo waits for the answer to a command. What a client cannot do is an
// error.
func (c *ClientProcess) answerTo(ctx context.Context, what *command) (*answer, error) {
	line, err := c.readLine(ctx)
	if err != nil {
		return nil, c.explain(fmt.Errorf("the client does not answer %s: %w", what.Command, err))
	}
	var a answer
	switch err := json.Unmarshal(line, &a); {
	case err != nil || a.N != what.N:
		return nil, c.explain(unexpectedLine(line))
	case a.Error != "":
		return nil, c.explain(fmt.Errorf("the client cannot %s: %s", what.Command, brief([]byte(a.Error))))
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
