package conformance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// clientHello is how long a client may take to start.
	clientHello = 60 * time.Second
	// clientAnswer is how long it may take over a command.
	clientAnswer = 60 * time.Second
	// clientSaid is how much is kept of what it wrote to standard error.
	clientSaid = 4 << 10
)

// ClientOptions says how a client under test is run.
type ClientOptions struct {
	// Command is a program with its arguments. It is not given to a shell.
	Command []string
	// Wait is for how long one transcript may wait in place of moving the
	// clock, for clients without the ability Clock. Zero: transcripts that
	// move it are not played.
	Wait time.Duration
	// End is how long a client may take to end when it was told to. Default
	// 60 s.
	End time.Duration
}

// ClientProcess is a client in a process of its own, as a target. It is told
// what to do on its standard input, and tells on its standard output what its
// readers are handed; contract/sessions/CLIENTS.md has the protocol. Each
// transcript gets a process of its own.
type ClientProcess struct {
	name      string
	abilities []Ability
	moves     bool // it can be told to move its clock
	patience  patience
	endWithin time.Duration

	cmd      *exec.Cmd
	input    io.Closer
	lines    *lines
	said     *tail
	web      *http.Server
	listener *Listener

	mu sync.Mutex
	// ahead is by how much the client's clock was moved.
	ahead time.Duration
}

// StartClient starts a client for one transcript, and has it connect to a
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
	c := &ClientProcess{said: &tail{most: clientSaid}, listener: NewListener(), patience: patienceFor(t, o.Wait), endWithin: cmp.Or(o.End, time.Minute)}
	c.web = &http.Server{Handler: c.listener, ReadHeaderTimeout: clientAnswer}
	if err := c.start(o.Command); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	go func() { _ = c.web.Serve(l) }()
	if err := c.greet(ctx, "ws://"+l.Addr().String()+"/", t.Tokens); err != nil {
		return nil, errors.Join(c.explain(err), c.end(true)) //nolint:contextcheck // a process is ended whatever became of the context
	}
	return c, nil
}

// start starts the process.
func (c *ClientProcess) start(argv []string) error {
	c.cmd = exec.Command(argv[0], argv[1:]...) //nolint:gosec // the user's own command line
	c.cmd.Stderr = c.said
	c.cmd.WaitDelay = c.endWithin // for what inherited its standard error
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("the client cannot be started: %w", err)
	}
	c.input, c.lines = in, newLines(in, out)
	return nil
}

// greet takes the client's hello, and tells it where to connect to.
func (c *ClientProcess) greet(ctx context.Context, url string, tokens []string) error {
	ctx, cancel := context.WithTimeout(ctx, clientHello)
	defer cancel()
	var h hello
	select {
	case h = <-c.lines.hello:
	case <-c.lines.done:
		select {
		case h = <-c.lines.hello:
		default:
			return c.lines.end()
		}
	case <-ctx.Done():
		return fmt.Errorf("the client does not say hello within %s: %w", clientHello, ctx.Err())
	}
	if h.Version != ClientProtocol {
		return fmt.Errorf("the client speaks version %d of the protocol for clients under test, the player version %d", h.Version, ClientProtocol)
	}
	c.name, c.abilities = h.Client, h.Abilities
	for _, a := range h.Abilities {
		if a != AbilityClock && a != AbilityHandshake {
			return fmt.Errorf("a client has the ability %q or %q, not %q", AbilityClock, AbilityHandshake, a)
		}
	}
	c.moves = slices.Contains(h.Abilities, AbilityClock)
	if !c.moves {
		c.abilities = append(c.abilities, c.patience.abilities()...)
	}
	return c.do(ctx, command{Command: "open", URL: url, Tokens: tokens})
}

// Name is what the client calls itself.
func (c *ClientProcess) Name() string { return c.name }

// Abilities tells what the client said it can do.
func (c *ClientProcess) Abilities() []Ability { return c.abilities }

// Now returns the client's time: the machine's, and by how much it was moved.
func (c *ClientProcess) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// realTime says that time passes by itself; that of a client with a clock, too,
// passes while nobody moves it.
func (c *ClientProcess) realTime() {}

// Advance moves the client's clock, or waits.
func (c *ClientProcess) Advance(ctx context.Context, d time.Duration) error {
	if !c.moves {
		return c.patience.wait(ctx, d)
	}
	c.mu.Lock()
	c.ahead += d
	c.mu.Unlock()
	return c.do(ctx, command{Command: "advance", Ms: d.Milliseconds()})
}

// Accept waits for the client's next attempt to connect.
func (c *ClientProcess) Accept(ctx context.Context) (Dial, error) {
	select {
	case d := <-c.listener.dials:
		return d, nil
	case <-c.lines.done: // a dead client does not connect
		return nil, c.explain(c.lines.end())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Start has the application start a call.
func (c *ClientProcess) Start(ctx context.Context, call string, request json.RawMessage) error {
	return c.do(ctx, command{Command: "start", Call: call, Request: request})
}

// Attach has it follow a call by its id.
func (c *ClientProcess) Attach(ctx context.Context, call, id string) error {
	return c.do(ctx, command{Command: "attach", Call: call, ID: id})
}

// Cancel has it cancel a call.
func (c *ClientProcess) Cancel(ctx context.Context, call string) error {
	return c.do(ctx, command{Command: "cancel", Call: call})
}

// Detach has it stop following a call.
func (c *ClientProcess) Detach(ctx context.Context, call string) error {
	return c.do(ctx, command{Command: "detach", Call: call})
}

// do gives a command, and waits until the client has taken it.
func (c *ClientProcess) do(ctx context.Context, what command) error {
	ctx, cancel := context.WithTimeoutCause(ctx, clientAnswer, fmt.Errorf("no answer within %s", clientAnswer))
	defer cancel()
	_, reply, err := c.lines.send(what)
	if err != nil {
		return c.explain(err)
	}
	_, err = c.lines.await(ctx, what.Command, reply)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the client does not answer %s: %w", what.Command, context.Cause(ctx))
	}
	return c.explain(err)
}

// Next lets the reader of a call take one event. When ctx ends before there is
// one, the take is withdrawn, so that nothing is taken between two calls.
func (c *ClientProcess) Next(ctx context.Context, call string) (json.RawMessage, error) {
	n, reply, err := c.lines.send(command{Command: "take", Call: call})
	if err != nil {
		return nil, c.explain(err)
	}
	a, err := c.lines.await(ctx, "take", reply)
	why := ctx.Err()
	if why != nil && errors.Is(err, why) {
		if err := c.do(context.WithoutCancel(ctx), command{Command: "untake", Take: n}); err != nil {
			return nil, err
		}
		// An untake is answered behind the take that it withdraws.
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), clientAnswer)
		defer cancel()
		a, err = c.lines.await(late, "take, which was withdrawn,", reply)
	}
	switch {
	case err != nil:
		return nil, c.explain(err)
	case !none(a.Event):
		return a.Event, nil
	case why != nil:
		return nil, why
	}
	return nil, fmt.Errorf("the client answers a take of %s with no event, though it was not withdrawn", call)
}

// none tells that an answer to a take holds no event.
func none(event json.RawMessage) bool { return len(event) == 0 || string(event) == "null" }

// explain adds to an error what the client said on standard error.
func (c *ClientProcess) explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if said := c.said.String(); said != "" {
		return fmt.Errorf("%w; its standard error ends with: %s", err, said)
	}
	return err
}

// Close tells the client to end, and waits until it has. A client that does
// not end by itself, or not with exit code 0, has failed.
func (c *ClientProcess) Close() error { return c.end(false) }

func (c *ClientProcess) end(kill bool) error {
	c.listener.Close()
	var err error
	if !kill && c.lines.end() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), c.endWithin)
		err = c.do(ctx, command{Command: "close"})
		cancel()
	}
	_ = c.input.Close()
	late := time.NewTimer(c.endWithin)
	defer late.Stop()
	inTime := true
	if !kill {
		select {
		case <-c.lines.drained:
		case <-late.C:
			inTime = false
		}
	}
	if kill || !inTime {
		_ = c.cmd.Process.Kill()
	}
	stuck := time.AfterFunc(c.endWithin, func() { _ = c.cmd.Process.Kill() })
	waited := c.cmd.Wait() // closes the pipes, whoever else may hold them
	inTime = stuck.Stop() && inTime
	<-c.lines.drained
	_ = c.web.Close()
	switch {
	case kill:
		return nil
	case !inTime:
		return errors.Join(err, fmt.Errorf("the client did not end within %s", c.endWithin))
	case waited != nil:
		return errors.Join(err, c.explain(fmt.Errorf("the client ended badly: %w", waited)))
	}
	return err
}

// tail keeps the end of what is written to it, on one line.
type tail struct {
	most int
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if over := len(t.text) - t.most; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(t.text), "�")), " ")
}
