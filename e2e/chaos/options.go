package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/plan"
)

// defaultKills is a whole run; shortRun is what -short makes of it.
const (
	defaultKills = 1000
	shortRun     = 40
)

// options are the command line's.
type options struct {
	seed     uint64
	kills    int
	points   []plan.Point
	world    int
	parallel int
	duration time.Duration
	overlay  string
	keep     string

	// dir is where all files are made; own tells that it is ours to remove.
	dir string
	own bool
}

// parse reads the command line. Not ok: it is over, with that exit code.
func parse(args []string, out io.Writer) (o *options, code int, ok bool) {
	o = &options{}
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	f.SetOutput(out)
	f.Usage = func() { usage(f, out) }
	f.Uint64Var(&o.seed, "seed", 0, "the `number` that the plan follows from (default: a random one, which is printed)")
	f.IntVar(&o.kills, "kills", defaultKills, "how often a server is killed")
	short := f.Bool("short", false, fmt.Sprintf("the short form, as in the tests: %d kills", shortRun))
	points := f.String("points", "", "only these `moments`, separated by commas, of those below")
	f.IntVar(&o.world, "world", 0, "only the world with this `number` of the plan")
	f.IntVar(&o.parallel, "parallel", 2, "how many worlds there are at a time")
	f.DurationVar(&o.duration, "duration", 0, "stop after so long, in good order, and judge what was done (default: when the plan is done)")
	f.StringVar(&o.keep, "keep", "", "the `directory` to work in, where the evidence of a failure stays (default: a temporary one)")
	f.StringVar(&o.overlay, "overlay", "", "build the server with this overlay `file` of go build, to see a broken one fail")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, exitPass, false
		}
		return nil, exitUnable, false
	}
	if err := o.check(f, *points, *short); err != nil {
		_, _ = fmt.Fprintln(out, "chaos:", err)
		return nil, exitUnable, false
	}
	return o, exitPass, true
}

// check completes the options, or says what is wrong with them.
func (o *options) check(f *flag.FlagSet, points string, short bool) error {
	given := map[string]bool{}
	f.Visit(func(g *flag.Flag) { given[g.Name] = true })
	if !given["seed"] {
		o.seed = rand.Uint64N(1 << 32) // short enough to be typed
	}
	if short {
		if given["kills"] {
			return errors.New("-short and -kills say different things")
		}
		o.kills = shortRun
	}
	for name := range strings.SplitSeq(points, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		p, err := plan.Parse(name)
		if err != nil {
			return err
		}
		o.points = append(o.points, p)
	}
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("%q is not understood: there are flags only", f.Arg(0))
	case o.kills < 1, o.kills > 1_000_000:
		return errors.New("-kills is a number from 1 to 1,000,000")
	case o.parallel < 1, o.parallel > 64:
		return errors.New("-parallel is a number from 1 to 64")
	case o.world < 0, o.duration < 0:
		return errors.New("-world and -duration are not negative")
	}
	return nil
}

func usage(f *flag.FlagSet, out io.Writer) {
	_, _ = fmt.Fprint(out, `Kills a real server again and again while real clients call it, and tells
whether anything acknowledged was lost, or anything done twice.

Usage: go run ./e2e/chaos [flags]

`)
	f.PrintDefaults()
	_, _ = fmt.Fprint(out, "\nMoments:\n")
	for _, d := range plan.Describe() {
		_, _ = fmt.Fprintf(out, "  %-18s %s\n", d.Point, d.Text)
	}
	_, _ = fmt.Fprint(out, `
Beside the kills, connections are cut at random bytes, client processes are
killed and replaced, and clocks are stepped by hours. ^C stops in good order.

Exit codes: 0 nothing was found, 1 something was, 2 the run could not be
carried out, or was stopped before its end.
`)
}

// directory makes the directory to work in.
func (o *options) directory() (err error) {
	if o.keep == "" {
		o.own = true
		o.dir, err = os.MkdirTemp("", "streamer-chaos-")
		return err
	}
	if o.dir, err = filepath.Abs(o.keep); err != nil {
		return err
	}
	if old, _ := filepath.Glob(filepath.Join(o.dir, "world-*")); len(old) > 0 {
		return fmt.Errorf("%s holds the evidence of another run", o.dir)
	}
	return os.MkdirAll(o.dir, 0o700)
}

// tidy removes the directory, unless it is the user's, or holds evidence.
func (o *options) tidy() {
	if kept, _ := filepath.Glob(filepath.Join(o.dir, "world-*")); o.own && len(kept) == 0 {
		_ = os.RemoveAll(o.dir)
	}
}

// replay is the command that carries out a world of this plan again.
func (o *options) replay(world int) string {
	command := fmt.Sprintf("go run ./e2e/chaos -seed %d -kills %d -world %d", o.seed, o.kills, world)
	if len(o.points) > 0 {
		var names []string
		for _, p := range o.points {
			names = append(names, string(p))
		}
		command += " -points " + strings.Join(names, ",")
	}
	if o.overlay != "" {
		command += " -overlay " + o.overlay
	}
	return command
}
