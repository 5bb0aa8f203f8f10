package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// options are what the command line says.
type options struct {
	// duration is that of one measurement, rounds how often each is made.
	duration time.Duration
	rounds   int
	// idle is how long idle connections are left alone, connections how many
	// they are.
	idle        time.Duration
	connections int
	// stored is how many calls a file holds at last.
	stored int
	quick  bool
	only   []string
	json   bool
	// dir is where data is kept; profiles where CPU profiles are written.
	dir, profiles string
}

// parse reads the command line. What is wrong with it stands on errors already
// when it returns an error.
func parse(args []string, errors io.Writer) (*options, error) {
	o := new(options)
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errors)
	flags.DurationVar(&o.duration, "duration", 2*time.Second, "how long one measurement lasts, 50ms to 1m")
	flags.IntVar(&o.rounds, "rounds", 3, "how often each measurement is made, 1 to 20; medians are printed")
	flags.DurationVar(&o.idle, "idle", 10*time.Second, "how long idle connections are left alone, at most 10m")
	flags.IntVar(&o.connections, "connections", 10_000, "how many connections are idle, come back and grow, as far as the limit of open files allows")
	flags.IntVar(&o.stored, "stored", 1_000_000, "how many calls are stored at last, while they grow")
	flags.BoolVar(&o.quick, "quick", false, "everything once and small, to see that it works; the figures mean nothing")
	only := flags.String("only", "", "which tables, separated by commas: "+strings.Join(names(), ", "))
	flags.BoolVar(&o.json, "json", false, "print JSON")
	flags.StringVar(&o.dir, "dir", "", "where data is kept meanwhile (default: the system's directory for temporary files)")
	flags.StringVar(&o.profiles, "profiles", "", "write CPU profiles of the server under load into this directory")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	err := o.check(flags.Args())
	if err != nil {
		_, _ = fmt.Fprintln(errors, "bench:", err)
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
	case o.duration < 50*time.Millisecond || o.duration > time.Minute:
		return errors.New("-duration is from 50ms to 1m")
	case o.rounds < 1 || o.rounds > 20:
		return errors.New("-rounds is from 1 to 20")
	case o.idle < 0 || o.idle > 10*time.Minute:
		return errors.New("-idle is from 0 to 10m: then the server closes idle connections")
	case o.stored < 1 || o.stored > 10_000_000:
		return errors.New("-stored is from 1 to 10000000")
	case o.connections < 1 || o.connections > 20_000:
		return errors.New("-connections is from 1 to 20000")
	}
	return nil
}

func (o *options) wants(name string) bool { return len(o.only) == 0 || slices.Contains(o.only, name) }
