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
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
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
	o, code, ok := parse(os.Args[1:], os.Stderr)
	if !ok {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	os.Exit(code) //nolint:gocritic // nothing is left to be deferred
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
	fmt.Printf("chaos: seed %d: %s\n", o.Seed, outline(c.Plan))
	c.Killed = progress(os.Stdout, o.Kills)
	r, err := c.Run(ctx)
	if err != nil {
		return exitUnable, err
	}
	return report(o, r), nil
}

// outline says in a line what a plan has.
func outline(p campaign.Plan) string {
	kills, worlds := 0, map[string]int{}
	for _, w := range p {
		kills += len(w.Rounds)
		worlds[string(w.Kind)]++
	}
	var kinds []string
	for kind, n := range worlds {
		kinds = append(kinds, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(kinds)
	return fmt.Sprintf("%d kills in %d worlds (%s)", kills, len(p), strings.Join(kinds, ", "))
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
	const most = 20
	for i, f := range r.Findings[:min(most, len(r.Findings))] {
		fmt.Printf("  %s\n", f)
		if i == most-1 {
			fmt.Printf("  and %d more\n", len(r.Findings)-most)
		}
	}
	for i, world := range r.Failed {
		fmt.Printf("  evidence: %s\n  the same plan again (the moments differ): %s\n", r.Kept[i], replay(o, world))
	}
	fmt.Printf("chaos: %s seed %d: %s\n", word, o.Seed, r)
	return code
}
