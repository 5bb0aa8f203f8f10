package peer

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/server"
)

// Subcommand is the first argument of a program that is to be a peer.
const Subcommand = "serve"

// token is the one that the Streamer server lets in.
const token = "bench"

// hello is the one line that a peer says, when it listens.
type hello struct {
	Address string `json:"address"`
	Control string `json:"control"`
}

// settings are what a peer is told by its arguments.
type settings struct {
	Kind    Kind
	Dir     string
	Workers int
}

func (s *settings) args() []string {
	return []string{Subcommand, "-kind", string(s.Kind), "-dir", s.Dir, "-workers", fmt.Sprint(s.Workers)}
}

// Serve is a peer: it serves until in ends, which it does with the process that
// holds its other side, and says hello on out. args are those behind
// Subcommand.
func Serve(args []string, in io.Reader, out io.Writer) error {
	var s settings
	flags := flag.NewFlagSet(Subcommand, flag.ContinueOnError)
	flags.StringVar((*string)(&s.Kind), "kind", "", "which server")
	flags.StringVar(&s.Dir, "dir", "", "where the data is kept")
	flags.IntVar(&s.Workers, "workers", 0, "how many durable calls run at once")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// A Ctrl-C on the terminal is for all processes of its group; this one
	// ends when the one that started it does.
	signal.Ignore(os.Interrupt)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, in)
		stop()
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, l.Close())
	}
	go func() { _ = (&http.Server{Handler: controls(), ReadHeaderTimeout: time.Second}).Serve(control) }()
	defer func() { _ = control.Close() }()
	line, err := json.Marshal(hello{Address: l.Addr().String(), Control: control.Addr().String()})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "%s\n", line); err != nil {
		return err
	}
	return s.serve(ctx, l)
}

func (s *settings) serve(ctx context.Context, l net.Listener) error {
	switch s.Kind {
	case Bare:
		h := &http.Server{Handler: bare(), ReadHeaderTimeout: time.Second}
		stop := context.AfterFunc(ctx, func() { _ = h.Close() })
		defer stop()
		if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	case Streamer:
		o := &server.Options{
			Data: filepath.Join(s.Dir, "streamer.db"), Workers: s.Workers, Grace: time.Second,
			Auth:   auth.Static{token: {Tenant: "bench", Subject: "load"}},
			Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		}
		srv, err := server.New(router(), o)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		return srv.Serve(ctx, l)
	}
	return fmt.Errorf("there is no peer of kind %q", s.Kind)
}

// controls is what the process that started a peer may ask it for.
func controls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /gc", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
	mux.HandleFunc("GET /profile", pprof.Profile)
	mux.HandleFunc("GET /pprof/{name}", func(w http.ResponseWriter, r *http.Request) {
		pprof.Handler(r.PathValue("name")).ServeHTTP(w, r)
	})
	return mux
}
