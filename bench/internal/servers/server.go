// Package servers runs the servers that are measured, each in a process of its
// own. Those that are Go libraries run in the program that uses this package:
// it is started again with [Subcommand], and calls [Main].
package servers

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/machine"
)

// Kind is which server it is.
type Kind string

// Kinds of servers.
const (
	Streamer   Kind = "streamer"   // the embedded server with its defaults
	Bare       Kind = "bare"       // a bare echo on gorilla/websocket
	Centrifuge Kind = "centrifuge" // the library of that name, with WebSockets
	NATS       Kind = "nats"       // NATS with JetStream, on the disk
	Postgres   Kind = "postgres"   // PostgreSQL
	Redis      Kind = "redis"      // Redis, on the disk
)

// Options of a server. The zero value is useful; each option is for the kind
// that it names.
type Options struct {
	// Address is where to listen. Default: any port of 127.0.0.1.
	Address string
	// Workers is how many durable calls of Streamer run at once. Default: the
	// server's own.
	Workers int
	// Age sets the clock of Streamer's store back, so that calls which are
	// stored now have expired for a server without Age.
	Age time.Duration
	// Tuned sets Centrifuge up for many idle connections.
	Tuned bool
	// EverySecond has Redis sync its log once per second. Default: before each
	// answer.
	EverySecond bool
	// Profile is where a Go server writes a CPU profile. Default: nowhere.
	Profile string
}

// Server is a server in a process of its own.
type Server struct {
	// Target is where its WebSockets are, of the kinds that have such.
	Target load.Target
	// Address and Password are for clients of PostgreSQL, Redis and NATS. The
	// password is for this one run.
	Address, Password string
	// Dir is where it keeps its data.
	Dir string

	control string
	cmd     *exec.Cmd
	quit    func() error
	wait    func() error
}

// ErrMissing means that a server's program is not on this machine, or cannot run
// here.
var ErrMissing = errors.New("MISSING")

// Start starts a server, which keeps its data in dir, and returns when it is
// ready. The caller must stop it. The error is ErrMissing if it is not installed.
func Start(ctx context.Context, kind Kind, dir string, o Options) (_ *Server, err error) {
	if o.Address == "" {
		o.Address, err = freeAddress()
	}
	control, failed := freeAddress()
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	s := &Server{Address: o.Address, Password: rand.Text(), Dir: dir, control: control}
	s.Target = load.Target{URL: "ws://" + s.Address + "/"}
	if kind == Streamer {
		s.Target.Token = token
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	switch kind {
	case Postgres:
		err = s.startPostgres(ctx)
	case Redis:
		err = s.startRedis(ctx, o.EverySecond)
	case Streamer, Bare, Centrifuge, NATS:
		err = s.startSelf(ctx, settings{Kind: kind, Dir: dir, Password: s.Password, Control: control, Options: o})
	}
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", kind, errors.Join(err, s.Stop()))
	}
	return s, nil
}

// freeAddress returns an address at which nothing listens. Systems choose ports
// of their own from 32768 on, so no other program is likely to take this one meanwhile.
func freeAddress() (string, error) {
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+mathrand.IntN(20_000)))
		if err == nil {
			return l.Addr().String(), l.Close()
		} else if !errors.Is(err, syscall.EADDRINUSE) {
			return "", err
		}
	}
}

func (s *Server) startSelf(ctx context.Context, o settings) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, Subcommand) //nolint:gosec,noctx // it is this program, and stopped by Stop
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	// It reads its settings before it does anything else.
	go func() { _ = json.NewEncoder(in).Encode(o) }()
	return s.launch(ctx, cmd, in.Close, s.listens)
}

// listens returns nil when the server accepts connections.
func (s *Server) listens(context.Context) error {
	conn, err := net.Dial("tcp", s.Address)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// launch starts a process, whose output goes to a file, and waits until ready
// returns nil. quit has it shut down.
func (s *Server) launch(ctx context.Context, cmd *exec.Cmd, quit func() error, ready func(context.Context) error) error {
	log, err := os.Create(filepath.Join(s.Dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	s.cmd, s.quit, s.wait = cmd, quit, sync.OnceValue(func() error {
		defer close(exited)
		if err := cmd.Wait(); err != nil {
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%w\n%s", err, bytes.TrimSpace(text[max(0, len(text)-1000):]))
		}
		return nil
	})
	go func() { _ = s.wait() }()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-exited:
			return s.wait()
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// Stop has the server shut down, and waits until it has. It may be called again,
// and after Kill.
func (s *Server) Stop() error {
	if s.quit == nil {
		return nil
	}
	_ = s.quit()
	kill := time.AfterFunc(20*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	return s.wait()
}

// Kill ends the server as a crash would, and waits until it is gone.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.wait()
	s.quit = nil
}

// Usage returns what the server and this process have used.
func (s *Server) Usage() load.Used {
	return load.Used{Server: float64(machine.CPU(s.cmd.Process.Pid)), Load: float64(machine.OwnCPU())}
}

// RSS has a Go server collect its garbage and give what is free back to the
// system, and returns how many bytes it occupies then; 0 if that is not known.
func (s *Server) RSS(ctx context.Context) (float64, error) {
	if _, err := s.Control(ctx, "/gc"); err != nil {
		return 0, err
	}
	return float64(machine.RSS(s.cmd.Process.Pid)), nil
}

// Control has a Go server do what a path names, and returns its answer:
//
//	/gc                                    collect garbage
//	/publish?channels=2&times=3&every=1s   Centrifuge: publish the time, in Unix nanoseconds, to channels "0" and "1"
//	/expire?for=1s                         Streamer: delete what has expired, and write how many calls that were
func (s *Server) Control(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.control+path, http.NoBody)
	if err != nil {
		return "", err
	}
	request.Close = true
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server answered %s to %s", response.Status, path)
	}
	answer, err := io.ReadAll(response.Body)
	return string(answer), err
}
