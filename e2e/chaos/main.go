// Chaos kills a real server again and again, while real clients call it, and
// checks that nothing acknowledged was lost, and nothing done twice.
//
//	go run ./e2e/chaos              # 1,000 kills, about ten minutes
//	go run ./e2e/chaos -kills 40    # half a minute
//	go run ./e2e/chaos -seed 42     # that plan again
//
// README.md beside this file says what is done, and what counts as right.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/campaign"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// Exit codes.
const (
	exitPass = iota
	exitFail
	exitUnable
)

func main() {
	serverproc.RunChild()
	o, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil: // it is printed
		os.Exit(exitUnable)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	os.Exit(code)
}

// parse reads the command line, and prints to out what is wrong with it.
func parse(args []string, out io.Writer) (*campaign.PlanOptions, error) {
	o := &campaign.PlanOptions{Seed: rand.Uint64N(1 << 32)} // short enough to be typed
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	f.SetOutput(out)
	f.Func("seed", "the `number` that the plan follows from (default: a random one, which is printed)", func(s string) (err error) {
		o.Seed, err = strconv.ParseUint(s, 10, 64)
		return err
	})
	f.IntVar(&o.Kills, "kills", 1000, "how often a server is killed")
	f.IntVar(&o.World, "world", 0, "only the world with this `number` of the plan")
	f.Func("points", fmt.Sprintf("only these `points`, separated by commas, of %s", campaign.Points()), func(list string) error {
		for name := range strings.SplitSeq(list, ",") {
			p := serverproc.Point(strings.TrimSpace(name))
			if !slices.Contains(campaign.Points(), p) {
				return fmt.Errorf("there is no point %q", p)
			}
			o.Points = append(o.Points, p)
		}
		return nil
	})
	err := f.Parse(args)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q: there are flags only", f.Arg(0))
		_, _ = fmt.Fprintln(out, err)
	}
	return o, err
}

// run makes the plan, carries it out and prints the result.
func run(ctx context.Context, o *campaign.PlanOptions) (code int, err error) {
	dir, err := os.MkdirTemp("", "streamer-chaos-")
	if err != nil {
		return exitUnable, err
	}
	defer func() {
		if kept, _ := filepath.Glob(filepath.Join(dir, "world-*")); len(kept) == 0 {
			_ = os.RemoveAll(dir)
		}
	}()
	fmt.Printf("chaos: seed %d: preparing (building a server whose clock can be stepped takes a minute the first time)\n", o.Seed)
	c, err := campaign.New(ctx, dir, *o)
	if err != nil {
		return exitUnable, err
	}
	for _, text := range c.LeftOut {
		fmt.Println("chaos: LEFT OUT:", text)
	}
	c.Killed = progress(os.Stdout, o.Kills)
	r, err := c.Run(ctx)
	if err != nil {
		return exitUnable, err
	}
	return report(o, r), nil
}

// progress returns what shows the number of kills, if out is a terminal.
func progress(out *os.File, total int) func(kills int) {
	began := time.Now()
	if info, err := out.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func(int) {}
	}
	return func(kills int) {
		_, _ = fmt.Fprintf(out, "\r\x1b[K%d of %d kills, %v\r", kills, total, time.Since(began).Round(time.Second))
	}
}

// report prints the result, and how to repeat a bad one.
func report(o *campaign.PlanOptions, r *campaign.Result) int {
	word, code := "PASS", exitPass
	switch {
	case len(r.Findings) > 0:
		word, code = "FAIL", exitFail
	case r.Stopped:
		word, code = "STOPPED", exitUnable
	}
	for i, f := range r.Findings {
		if i == 20 {
			fmt.Printf("  and %d more\n", len(r.Findings)-i)
			break
		}
		fmt.Printf("  %s\n", f)
	}
	for i, world := range r.Failed {
		fmt.Printf("  evidence: %s\n  the same plan again (the moments differ): %s\n", r.Kept[i], replay(o, world))
	}
	fmt.Printf("chaos: %s seed %d: %s\n", word, o.Seed, r)
	return code
}

// replay returns the command that carries out a world of this plan again.
func replay(o *campaign.PlanOptions, world int) string {
	command := fmt.Sprintf("go run ./e2e/chaos -seed %d -kills %d -world %d", o.Seed, o.Kills, world)
	for i, p := range o.Points {
		command += []string{" -points ", ","}[min(i, 1)] + string(p)
	}
	return command
}
