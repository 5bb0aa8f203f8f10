// Command streamer runs a demo server, and calls, follows, cancels and lists
// calls of any Streamer server from a terminal or a script. `streamer --help`
// tells the rest.
package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/backend/cmd/streamer/internal/cli"
	"github.com/vbauerster/mpb/v8/cwriter"
)

func main() {
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	dumb := os.Getenv("TERM") == "dumb"
	app := &cli.App{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		StdoutTerminal: terminal(os.Stdout), StderrTerminal: terminal(os.Stderr),
		Color:      os.Getenv("NO_COLOR") == "" && !dumb,
		Dumb:       dumb,
		Width:      func() int { return width(os.Stdout) },
		Now:        time.Now,
		Interrupts: interrupts,
		Executable: os.Args[0],
	}
	os.Exit(app.Run(os.Args[1:]))
}

func terminal(f *os.File) bool { return cwriter.IsTerminal(int(f.Fd())) }

// width is how many columns a terminal has; 0: it is none, or does not tell.
func width(f *os.File) int {
	columns, _, err := cwriter.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}
