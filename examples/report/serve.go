package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/pay-theory/streamer/examples/report/report"
)

const defaultAddress = "127.0.0.1:8090"

// parse parses the flags of a command, which has no arguments.
func parse(flags *flag.FlagSet, args []string) error {
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return usageError{err}
	case flags.NArg() > 0:
		return usageError{fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	}
	return nil
}

// tokenSecret returns the secret that signs tokens. The example's default is
// public; with it the server listens on this machine only.
func tokenSecret() (secret []byte, private bool) {
	if text := os.Getenv("REPORT_SECRET"); text != "" {
		return []byte(text), true
	}
	return []byte("known to everybody who reads this example"), false
}

// newServer returns a server with the report's handlers.
func newServer(address, data string, log *slog.Logger) (*server.Server, error) {
	secret, private := tokenSecret()
	if host, _, err := net.SplitHostPort(address); err != nil || !private && !net.ParseIP(host).IsLoopback() {
		return nil, fmt.Errorf("the address must be one of this machine only, such as %s, got %q; set REPORT_SECRET (32 bytes or more) to listen on others", defaultAddress, address)
	}
	jwt, err := auth.NewJWT(&auth.JWTOptions{Keys: []auth.Key{{Key: secret}}})
	if err != nil {
		return nil, err
	}
	r := streamer.NewRouter(nil)
	report.Register(r)
	return server.New(r, &server.Options{Address: address, Data: data, Auth: jwt, Logger: log})
}

// runServer serves until ctx ends.
func runServer(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("report server", flag.ContinueOnError)
	address := flags.String("address", defaultAddress, "address to listen on")
	data := flags.String("data", "report.db", "SQLite file that holds the calls")
	if err := parse(flags, args); err != nil {
		return err
	}
	s, err := newServer(*address, *data, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	fmt.Printf(`Serving %[1]s on ws://%[2]s; calls are kept in %[3]s.

Call it from another terminal:
  go run ./examples/report client
While rows come in, kill this server (pid %[4]d) and start it again:
  kill -9 %[4]d
  go run ./examples/report server
The client continues where it was.

`, report.Name, *address, *data, os.Getpid())
	return s.Run(ctx)
}

// runBoth starts a server, makes one call, and stops the server.
func runBoth(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	o := callFlags(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "streamer-report-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := newServer(l.Addr().String(), filepath.Join(dir, "report.db"), quiet)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	serving, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(serving, l) }()
	o.url = "ws://" + l.Addr().String()
	err = call(ctx, o)
	stop()
	err = errors.Join(err, <-served)
	if err == nil {
		fmt.Print(hints)
	}
	return err
}

const hints = `
That was a server and a client in one process, over a real WebSocket. Run them
in two, and kill the server in the middle:
  go run ./examples/report server    (prints its pid; kill -9 it, start it again)
  go run ./examples/report client    (continues; no row is lost or repeated)
Another report:
  go run ./examples/report --group-by operator --years 2000,2001 --min-cost 1000
`
