package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/pay-theory/streamer/e2e/chaos/campaign"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// defaultKills is a whole run.
const defaultKills = 1000

// parse reads the command line. Not ok: the program ends with that exit code.
func parse(args []string, out io.Writer) (o *campaign.PlanOptions, code int, ok bool) {
	o = &campaign.PlanOptions{}
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	f.SetOutput(out)
	f.Usage = func() { usage(f, out) }
	f.Uint64Var(&o.Seed, "seed", rand.Uint64N(1<<32), "the `number` that the plan follows from (default: a random one, which is printed)")
	f.IntVar(&o.Kills, "kills", defaultKills, "how often a server is killed")
	f.IntVar(&o.World, "world", 0, "only the world with this `number` of the plan")
	f.Func("points", "only these `points`, separated by commas, of those below", func(list string) error {
		for name := range strings.SplitSeq(list, ",") {
			p := serverproc.Point(strings.TrimSpace(name))
			if !p.Known() {
				return errors.New("there is no such point")
			}
			o.Points = append(o.Points, p)
		}
		return nil
	})
	f.Lookup("seed").DefValue = "0" // not printed
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil, exitPass, false
	case err != nil: // it is printed
		return nil, exitUnable, false
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q: there are flags only", f.Arg(0))
	case o.Kills < 1, o.Kills > 1_000_000:
		err = errors.New("-kills must be a number from 1 to 1,000,000")
	case o.World < 0:
		err = errors.New("-world must not be negative")
	}
	if err != nil {
		_, _ = fmt.Fprintln(out, "chaos:", err)
		return nil, exitUnable, false
	}
	return o, exitPass, true
}

func usage(f *flag.FlagSet, out io.Writer) {
	_, _ = fmt.Fprint(out, `Kills a real server again and again while real clients call it, and checks
that nothing acknowledged was lost, and nothing done twice.

Usage: go run ./e2e/chaos [flags]

`)
	f.PrintDefaults()
	_, _ = fmt.Fprint(out, "\nPoints at which the server is killed:\n")
	for _, p := range serverproc.Points {
		_, _ = fmt.Fprintf(out, "  %-18s %s\n", p.Point, p.Text)
	}
	_, _ = fmt.Fprint(out, `
Besides, connections are cut at random bytes, client processes are killed and
replaced, and clocks are stepped by hours. ^C stops in good order.

Exit codes: 0 nothing was found, 1 something was, 2 the run could not be
carried out, or was stopped before its end.
`)
}

// replay returns the command that carries out a world of this plan again.
func replay(o *campaign.PlanOptions, world int) string {
	command := fmt.Sprintf("go run ./e2e/chaos -seed %d -kills %d -world %d", o.Seed, o.Kills, world)
	for i, p := range o.Points {
		command += []string{" -points ", ","}[min(i, 1)] + string(p)
	}
	return command
}
