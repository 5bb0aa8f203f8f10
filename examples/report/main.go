// Command report is a complete example of Streamer: a server with one action, a
// client that calls it, and a report on ten thousand real records.
//
//	go run ./examples/report            server and client in one process
//	go run ./examples/report server     only the server
//	go run ./examples/report client     only a client
//
// The handlers are in package report.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: report [server | client] [flags]

  report           starts a server, calls it, and prints the report
  report server    runs a server until it is interrupted
  report client    calls a running server

report COMMAND --help lists the flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command, args := "", os.Args[1:]
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	var err error
	switch command {
	case "":
		err = runBoth(ctx, args)
	case "server":
		err = runServer(ctx, args)
	case "client":
		err = runClient(ctx, args)
	default:
		err = usageError{fmt.Errorf("unknown command %q", command)}
	}
	os.Exit(exitCode(err))
}

// usageError is a mistake in the command line.
type usageError struct{ error }

// exitCode prints an error, and returns the exit code: 0 done, 1 failed, 2 wrong
// usage, 130 interrupted.
func exitCode(err error) int {
	wrong := usageError{}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp): // help was printed
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(os.Stderr, "report: %v\n\n%s", err, usage)
		return 2
	case errors.Is(err, context.Canceled):
		return 130
	}
	fmt.Fprintln(os.Stderr, "report:", err)
	return 1
}
