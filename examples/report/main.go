// Command report is a whole example of Streamer: a server with one action, a
// client that calls it, and a report on ten thousand real records.
//
//	go run ./examples/report            server and client in one
//	go run ./examples/report server     the server alone
//	go run ./examples/report client     a client alone
//
// The handlers stand in package report, and know nothing of this.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: report [server | client] [flags]

  report           starts a server, calls it, and prints the report
  report server    starts a server and serves until it is told to stop
  report client    calls a server that runs

report COMMAND --help tells the flags.
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
		err = usageError{fmt.Errorf("there is no command %q", command)}
	}
	os.Exit(exitCode(err))
}

// usageError is a mistake in the command line.
type usageError struct{ error }

// exitCode says on standard error what went wrong, and returns the process's
// exit code: 0 done, 1 failed, 2 usage, 130 interrupted.
func exitCode(err error) int {
	wrong := usageError{}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errHelp):
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
