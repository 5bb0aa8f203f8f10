// Package peer runs the servers that are measured, each in a process of its
// own: the program that uses this package is started again with [Subcommand],
// and calls [Serve].
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
)

// Peer is a server in a process of its own.
type Peer struct {
	// Target is where its WebSockets are.
	Target load.Target

	control string
	cmd     *exec.Cmd
	in      io.Closer
}

// Options of a Streamer server. The zero value is useful.
type Options struct {
	// Workers is how many durable calls run at once. Default: the server's.
	Workers int
}

// Start starts a peer, which keeps its data in dir. It is killed when ctx ends
// before Stop was called.
func Start(ctx context.Context, kind Kind, dir string, o Options) (*Peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := settings{Kind: kind, Dir: dir, Workers: o.Workers}
	cmd := exec.CommandContext(ctx, self, s.args()...) //nolint:gosec // it is this program
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Peer{cmd: cmd, in: in}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var h hello
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server %s did not start: %w", kind, err), p.Stop())
	}
	p.control = "http://" + h.Control
	p.Target = load.Target{URL: "ws://" + h.Address + "/"}
	if kind == Streamer {
		p.Target.Subprotocol, p.Target.Token = "streamer.v1", token
	}
	return p, nil
}

// Stop has the peer shut down, and waits until it has.
func (p *Peer) Stop() error {
	_ = p.in.Close()
	kill := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	return p.cmd.Wait()
}

// CPU returns the processor time that it has used; 0 where that is not told.
func (p *Peer) CPU() (time.Duration, error) {
	d, err := machine.CPU(p.cmd.Process.Pid)
	if errors.Is(err, machine.ErrUnknown) {
		return 0, nil
	}
	return d, err
}

// RSS collects its garbage, gives what is free back to the system, and returns
// how many bytes it occupies then; machine.ErrUnknown where that is not told.
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
		return fmt.Errorf("the server answered %s to %s", response.Status, path)
	}
	_, err = io.Copy(to, response.Body)
	return err
}
