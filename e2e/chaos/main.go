// Chaos kills a real server again and again, while real clients call it, and
// tells whether anything acknowledged was lost, or anything done twice.
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
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/pay-theory/streamer/e2e/chaos/campaign"
	"github.com/pay-theory/streamer/e2e/chaos/faults"
	"github.com/pay-theory/streamer/e2e/chaos/plan"
	"github.com/pay-theory/streamer/e2e/chaos/role"
)

// Exit codes.
const (
	exitPass = iota
	exitFail
	exitUnable
)

func main() {
	role.Play()
	os.Exit(run())
}

func run() int {
	o, code, ok := parse(os.Args[1:], os.Stderr)
	if !ok {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code, err := carryOut(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	return code
}

// errDuration is why a run ends that has used up its time.
var errDuration = errors.New("-duration is over")

// carryOut makes the plan, carries it out and tells what came of it.
func carryOut(ctx context.Context, o *options) (code int, err error) {
	if err := o.directory(); err != nil {
		return exitUnable, err
	}
	defer o.tidy()
	without, err := missing(ctx, o)
	if err != nil {
		return exitUnable, err
	}
	p, err := plan.New(plan.Options{Seed: o.seed, Kills: o.kills, Points: o.points, Without: without})
	if err != nil {
		return exitUnable, err
	}
	if o.world > 0 {
		if p.Worlds = slices.DeleteFunc(p.Worlds, func(w plan.World) bool { return w.Number != o.world }); len(p.Worlds) == 0 {
			return exitUnable, fmt.Errorf("the plan has no world %d", o.world)
		}
	}
	c, err := prepare(ctx, o, p)
	if err != nil {
		return exitUnable, err
	}
	fmt.Printf("chaos: seed %d: %s\n", o.seed, outline(p))
	if o.duration > 0 { // what was built before does not count
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.duration, errDuration)
		defer cancel()
	}
	bar := newBar(os.Stdout, p)
	c.Killed = bar.killed
	v, err := campaign.Run(ctx, c)
	bar.close()
	if err != nil {
		return exitUnable, err
	}
	return tell(ctx, o, &v), nil
}

// missing tells which parts the machine lacks, aloud. Where CI is set, what
// `make tools` installs must be there.
func missing(ctx context.Context, o *options) (without []plan.Part, err error) {
	if err := faults.CanTrace(ctx); err != nil {
		if os.Getenv("CI") == "true" {
			return nil, fmt.Errorf("%w: `make tools` installs it", err)
		}
		fmt.Printf("chaos: LEFT OUT: slow and broken disks, and kills at a sync: %v (`make tools` installs it)\n", err)
		without = append(without, plan.Trace)
	}
	if err := faults.CanMount(o.dir); err != nil {
		fmt.Printf("chaos: LEFT OUT: full disks: %v (root may)\n", err)
		without = append(without, plan.Mount)
	}
	return without, nil
}

// prepare finds the programs that the run starts, and builds what is missing.
func prepare(ctx context.Context, o *options, p plan.Plan) (*campaign.Options, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &campaign.Options{Plan: p, Program: self, Dir: o.dir, Parallel: o.parallel}
	stepped := slices.ContainsFunc(p.Worlds, func(w plan.World) bool { return w.Kind == plan.Clock })
	if !stepped && o.overlay == "" {
		return c, nil
	}
	fmt.Println("chaos: building a server whose clock can be stepped (half a minute the first time)")
	if c.Clocked, err = faults.BuildClocked(ctx, o.dir, source(), o.overlay); err != nil {
		return nil, err
	}
	if o.overlay != "" {
		c.Server = c.Clocked
	}
	return c, nil
}

// source is where this program's source lies.
func source() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "github.com/pay-theory/streamer/e2e/chaos"
	}
	return filepath.Dir(file)
}

// outline says in a line what a plan holds.
func outline(p plan.Plan) string {
	kills, worlds := 0, map[plan.Kind]int{}
	var kinds []string
	for _, w := range p.Worlds {
		kills += len(w.Rounds)
		worlds[w.Kind]++
	}
	for kind, n := range worlds {
		kinds = append(kinds, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(kinds)
	return fmt.Sprintf("%d kills in %d worlds (%s)", kills, len(p.Worlds), strings.Join(kinds, ", "))
}

// tell prints the verdict, and what to do about a bad one.
func tell(ctx context.Context, o *options, v *campaign.Verdict) int {
	word, code := "PASS", exitPass
	switch {
	case len(v.Findings) > 0:
		word, code = "FAIL", exitFail
	case v.Stopped && !errors.Is(context.Cause(ctx), errDuration):
		word, code = "STOPPED", exitUnable
	}
	const most = 20
	for i, f := range v.Findings {
		if i == most {
			fmt.Printf("  … and %d more\n", len(v.Findings)-most)
			break
		}
		fmt.Printf("  %s\n", f)
	}
	if code == exitFail {
		fmt.Printf("  evidence: %s\n", strings.Join(v.Kept, " "))
		for _, n := range v.Failed {
			fmt.Printf("  the same plan again (whose turn it is when a kill comes is the machine's choice): %s\n", o.replay(n))
		}
	}
	fmt.Printf("chaos: %s seed %d: %s\n", word, o.seed, v)
	return code
}
