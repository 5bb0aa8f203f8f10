package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"time"
)

// Subcommand is the first argument of a program that is to be a server.
const Subcommand = "serve"

// settings are what a server reads from its standard input: arguments can be
// read by all.
type settings struct {
	Kind Kind
	// Dir is where it keeps its data, Control where it listens for commands.
	Dir, Control, Password string
	Options
}

// kinds serve until ctx ends. They add to controls what they may be asked for.
var kinds = map[Kind]func(ctx context.Context, s *settings, controls *http.ServeMux) error{
	Streamer: serveStreamer, Bare: serveBare, Centrifuge: serveCentrifuge, NATS: serveNATS,
}

// Main serves, if the program was started as a server, and exits.
func Main() {
	if len(os.Args) < 2 || os.Args[1] != Subcommand {
		return
	}
	if err := serve(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve reads settings from in, and serves until in ends, which it does with the
// process that holds its other side.
func serve(in io.Reader) error {
	// A Ctrl-C on the terminal is for all processes; this one ends when the one
	// that started it does.
	signal.Ignore(os.Interrupt)
	var s settings
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		stop()
	}()
	if s.Profile != "" {
		f, err := os.Create(s.Profile)
		if err := errors.Join(err, pprof.StartCPUProfile(f)); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	controls := http.NewServeMux()
	controls.HandleFunc("/gc", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
	go func() { _ = serveHTTP(ctx, s.Control, controls) }()
	return kinds[s.Kind](ctx, &s, controls)
}

// serveHTTP serves until ctx ends.
func serveHTTP(ctx context.Context, address string, handler http.Handler) error {
	h := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() })
	defer stop()
	if err := h.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
