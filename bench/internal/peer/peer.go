// Package peer runs the servers that are measured, each in a process of its
// own: the program that uses this package is started again with [Subcommand],
// and calls [Serve]. Servers that are programs by themselves (PostgreSQL,
// Redis) are children of such a process, which sets them up and stops them.
package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/machine"
)

// Kind is which server a peer is.
type Kind string

// Kinds of peers.
const (
	// Streamer is the embedded server with its defaults.
	Streamer Kind = "streamer"
	// Bare is a bare echo on gorilla/websocket.
	Bare Kind = "bare"
	// Centrifuge is a server of WebSockets on the library of that name.
	Centrifuge Kind = "centrifuge"
	// Postgres is PostgreSQL, Redis is Redis, NATS is NATS with JetStream, all
	// of them on the disk.
	Postgres Kind = "postgres"
	Redis    Kind = "redis"
	NATS     Kind = "nats"
)

// Peer is a server in a process of its own.
type Peer struct {
	// Target is where its WebSockets are, of the kinds that have such.
	Target load.Target
	// Address and Password are for clients of PostgreSQL, Redis and NATS. The
	// password is made anew with each start, and is good for this peer alone.
	Address, Password string

	control string
	cmd     *exec.Cmd
	in      io.Closer
	// wait waits for its end, once.
	wait func() error
}

// Options of a peer. The zero value is useful; each option is for the kinds
// that it names.
type Options struct {
	// Address is where to listen. Default: any port of 127.0.0.1.
	Address string
	// Workers is how many durable calls of Streamer run at once. Default: the
	// server's own.
	Workers int
	// Expire lets Streamer's clean-up be started by Peer.Expire.
	Expire bool
	// Tuned sets Centrifuge up for many idle connections.
	Tuned bool
	// EverySecond has Redis sync its log once a second. Default: before each
	// answer.
	EverySecond bool
}

// stopTimeout is for how long a peer may shut down before it is killed.
const stopTimeout = 20 * time.Second

// Start starts a peer, which keeps its data in dir. It is stopped when ctx ends
// before Stop was called. A *MissingError says that it is not installed.
func Start(ctx context.Context, kind Kind, dir string, o Options) (*Peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := settings{Kind: kind, Dir: dir, Options: o}
	if err := s.find(); err != nil {
		return nil, err
	}
	args, err := json.Marshal(&s)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, Subcommand, string(args)) //nolint:gosec // it is this program
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	cmd.WaitDelay = stopTimeout
	cmd.Cancel = func() error {
		_ = in.Close()
		return nil
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Peer{cmd: cmd, in: in, wait: sync.OnceValue(cmd.Wait)}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var h hello
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server %s did not start: %w", kind, err), p.Stop())
	}
	p.control = "http://" + h.Control
	p.Address, p.Password = h.Address, h.Password
	switch kind {
	case Streamer:
		p.Target = load.Target{URL: "ws://" + h.Address + "/", Subprotocol: "streamer.v1", Token: token}
	case Bare, Centrifuge:
		p.Target = load.Target{URL: "ws://" + h.Address + "/"}
	case Postgres, Redis, NATS:
		// They speak no WebSocket.
	}
	return p, nil
}

// Stop has the peer shut down, and waits until it has. It may be called again.
func (p *Peer) Stop() error {
	_ = p.in.Close()
	kill := time.AfterFunc(stopTimeout, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	return p.wait()
}

// Kill ends the peer as a crash would, and waits until it is gone. It is for
// kinds that are one process.
func (p *Peer) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.wait()
	_ = p.in.Close()
}

// CPU returns the processor time that it and its children have used; 0 where
// that is not told.
func (p *Peer) CPU() (time.Duration, error) {
	d, err := machine.CPU(p.cmd.Process.Pid)
	if errors.Is(err, machine.ErrUnknown) {
		return 0, nil
	}
	return d, err
}

// RSS collects its garbage, gives what is free back to the system, and returns
// how many bytes it occupies then; machine.ErrUnknown where that is not told.
// It is for kinds that are one process.
func (p *Peer) RSS(ctx context.Context) (int64, error) {
	if err := p.ask(ctx, http.MethodPost, "/gc", io.Discard); err != nil {
		return 0, err
	}
	return machine.RSS(p.cmd.Process.Pid)
}

// Profile writes a CPU profile of the next seconds, in pprof's format.
func (p *Peer) Profile(ctx context.Context, seconds int, to io.Writer) error {
	return p.ask(ctx, http.MethodGet, fmt.Sprintf("/profile?seconds=%d", seconds), to)
}

// Expire has Streamer delete what has expired, as its sweeper does once a
// minute, until all is gone or ctx ends, and returns how many calls that were
// by then. Options.Expire must be set.
func (p *Peer) Expire(ctx context.Context) (deleted int, err error) {
	// The answer tells of each step: when ctx ends, those so far have counted.
	r, w := io.Pipe()
	counted := make(chan int, 1)
	go func() {
		n := 0
		for lines := bufio.NewScanner(r); lines.Scan(); {
			step, _ := strconv.Atoi(lines.Text())
			n += step
		}
		counted <- n
	}()
	err = p.ask(ctx, http.MethodPost, "/expire", w)
	_ = w.Close()
	return <-counted, err
}

// Publish has Centrifuge publish to channels "0", "1", …, to each of them so
// many times with a pause before each, and waits until it has. What is
// published is the time, in Unix nanoseconds.
func (p *Peer) Publish(ctx context.Context, channels, times int, every time.Duration) error {
	path := fmt.Sprintf("/publish?channels=%d&times=%d&every=%v", channels, times, every)
	return p.ask(ctx, http.MethodPost, path, io.Discard)
}

// ask makes one request of the control listener.
func (p *Peer) ask(ctx context.Context, method, path string, to io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, method, p.control+path, http.NoBody)
	if err != nil {
		return err
	}
	request.Close = true
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return fmt.Errorf("the server answered %s to %s: %s", response.Status, path, said)
	}
	_, err = io.Copy(to, response.Body)
	return err
}
