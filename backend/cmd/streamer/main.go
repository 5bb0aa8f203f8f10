// Command streamer runs a demo server, and calls, follows, cancels and lists
// calls of any Streamer server from a terminal or a script. See
// `streamer --help`.
package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/backend/cmd/streamer/internal/cli"
	"golang.org/x/term"
)

func main() {
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	dumb := os.Getenv("TERM") == "dumb"
	app := &cli.App{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		StdoutTerminal: term.IsTerminal(int(os.Stdout.Fd())), StderrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		Color:      os.Getenv("NO_COLOR") == "" && !dumb,
		Dumb:       dumb,
		Width:      terminalWidth,
		Now:        time.Now,
		Interrupts: interrupts,
		Executable: os.Args[0],
	}
	os.Exit(app.Run(os.Args[1:]))
}

// terminalWidth returns how many columns the terminal has; 0: unknown, or there
// is no terminal.
func terminalWidth() int {
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil {
			return columns
		}
	}
	return 0
}
