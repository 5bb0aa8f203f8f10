// Command bench measures Streamer's embedded server beside yardsticks that it
// measures in the same run, on the machine that it runs on. All load goes to
// 127.0.0.1.
//
//	cd bench && GOWORK=off go run .
//
// Only the ratios carry over to other machines. RESULTS.md explains the
// figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/bench/internal/servers"
)

func main() {
	servers.Main()
	o, err := parse(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, o, os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are those of the command line.
type options struct {
	// duration is that of one measurement, rounds how often each is made.
	duration time.Duration
	rounds   int
	// idle is how long idle connections are left alone, connections how many
	// there are.
	idle        time.Duration
	connections int
	// stored is how many calls a file holds at last.
	stored int
	quick  bool
	only   []string
	// dir is where data is kept; profiles where CPU profiles are written.
	dir, profiles string
}

// parse reads the command line. When it returns an error it has written it to
// stderr.
func parse(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&o.duration, "duration", 2*time.Second, "how long one measurement lasts, at least 50ms")
	flags.IntVar(&o.rounds, "rounds", 3, "how often each measurement is made; medians are printed")
	flags.DurationVar(&o.idle, "idle", 10*time.Second, "how long idle connections are left alone, less than 10m")
	flags.IntVar(&o.connections, "connections", 10_000, "how many connections are idle, reconnect and grow; the limit of open files must allow it")
	flags.IntVar(&o.stored, "stored", 1_000_000, "up to how many stored calls are measured")
	flags.BoolVar(&o.quick, "quick", false, "everything once and small, to see that it works; the figures mean nothing")
	only := flags.String("only", "", "which tables, separated by commas: "+strings.Join(names(), ", "))
	flags.StringVar(&o.dir, "dir", "", "where data is kept meanwhile (default: the system's directory for temporary files)")
	flags.StringVar(&o.profiles, "profiles", "", "write CPU profiles of Streamer's servers, one for each, into this directory")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	err := o.check(flags.Args())
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "bench:", err)
	}
	return o, err
}

func (o *options) check(rest []string) error {
	if o.quick {
		o.duration, o.rounds, o.idle, o.connections, o.stored = 100*time.Millisecond, 1, 50*time.Millisecond, 100, 10_000
	}
	for _, name := range o.only {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("-only: there is no table %q", name)
		}
	}
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q is not an option", rest[0])
	case o.duration < 50*time.Millisecond:
		return errors.New("-duration must be at least 50ms")
	case o.rounds < 1 || o.connections < 1 || o.stored < 1:
		return errors.New("-rounds, -connections and -stored must be at least 1")
	case o.idle < 0 || o.idle >= 10*time.Minute:
		return errors.New("-idle must be less than 10m: then the server closes idle connections")
	}
	return nil
}
