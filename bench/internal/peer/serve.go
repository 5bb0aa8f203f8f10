package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"time"
)

// Subcommand is the first argument of a program that is to be a peer.
const Subcommand = "serve"

// hello is the one line that a peer says, when it listens.
type hello struct {
	Address  string `json:"address"`
	Control  string `json:"control"`
	Password string `json:"password,omitempty"`
}

// settings are what a peer is told by its argument.
type settings struct {
	Kind Kind
	// Dir is where it keeps its data.
	Dir string
	// Program is what it starts, of the kinds that do.
	Program string
	Options
}

// service is a server, as far as all kinds have it in common.
type service struct {
	// password is what its clients need; empty: none, or one that they know.
	password string
	// run serves until ctx ends.
	run func(ctx context.Context) error
}

// open prepares a server that will listen at address, and adds to controls
// what it may be asked for. What is to be seen before it serves, such as that
// a program has started, is seen to before it returns.
type open func(ctx context.Context, s *settings, address string, controls *http.ServeMux) (*service, error)

var kinds = map[Kind]open{
	Streamer: openStreamer, Bare: openBare, Centrifuge: openCentrifuge,
	Postgres: openPostgres, Redis: openRedis, NATS: openNATS,
}

// Serve is a peer: it serves until in ends, which it does with the process that
// holds its other side, and says hello on out. args are those behind
// Subcommand.
func Serve(args []string, in io.Reader, out io.Writer) error {
	var s settings
	if len(args) != 1 {
		return errors.New("a peer takes one argument, its settings")
	}
	if err := json.Unmarshal([]byte(args[0]), &s); err != nil {
		return err
	}
	prepare, known := kinds[s.Kind]
	if !known {
		return fmt.Errorf("there is no peer of kind %q", s.Kind)
	}
	// Children that are to end with their parent do so with the thread that
	// started them, which is this one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A Ctrl-C on the terminal is for all processes of its group; this one
	// ends when the one that started it does.
	signal.Ignore(os.Interrupt)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		stop()
	}()
	address, err := s.address()
	if err != nil {
		return err
	}
	controls := newControls()
	serving, err := prepare(ctx, &s, address, controls)
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", loopback)
	if err != nil {
		return err
	}
	go func() { _ = (&http.Server{Handler: controls, ReadHeaderTimeout: time.Second}).Serve(control) }()
	defer func() { _ = control.Close() }()
	//nolint:gosec // the password is for the process that reads this line, and good for this peer alone
	line, err := json.Marshal(hello{Address: address, Control: control.Addr().String(), Password: serving.password})
	if err == nil {
		_, err = fmt.Fprintf(out, "%s\n", line)
	}
	if err != nil {
		stop()
	}
	return errors.Join(err, serving.run(ctx))
}

// loopback is any port of this machine's own address.
const loopback = "127.0.0.1:0"

// address returns the address that a peer is to listen at. Programs want to be
// told a port: it is free now, and nobody else asks for it by number.
func (s *settings) address() (string, error) {
	if s.Address != "" {
		return s.Address, nil
	}
	l, err := net.Listen("tcp", loopback)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// newControls is what the process that started a peer may ask it for.
func newControls() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /gc", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
	mux.HandleFunc("GET /profile", pprof.Profile)
	mux.HandleFunc("GET /pprof/{name}", func(w http.ResponseWriter, r *http.Request) {
		pprof.Handler(r.PathValue("name")).ServeHTTP(w, r)
	})
	return mux
}

// serveHTTP makes a service of a handler.
func serveHTTP(address string, handler http.Handler) (*service, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	h := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	return &service{run: func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { _ = h.Close() })
		defer stop()
		if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}}, nil
}
