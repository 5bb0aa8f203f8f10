// Package campaign plans and carries out a chaos run: it starts servers and
// clients, kills them, injects faults, and has what they leave behind checked.
package campaign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/check"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

const (
	// mainPackage is the program that is built to have a clock that can be stepped.
	mainPackage = "github.com/pay-theory/streamer/e2e/chaos"
	// parallel is how many worlds there are at a time.
	parallel = 2
	// minFull is from how many full disks on some calls must have been refused: a
	// server may write for a while into the space that its log already has.
	minFull = 10
)

// Campaign is a plan, with what is needed to carry it out.
type Campaign struct {
	Plan []World
	// LeftOut says what this machine lacks, and what is not done because of it.
	LeftOut []string
	// Killed is called after each kill with their number so far, one call at a
	// time. Default: nothing.
	Killed func(kills int)

	dir             string
	server, clocked string // programs

	// stop ends the run once a world has findings.
	stop   context.CancelFunc
	mu     sync.Mutex
	result Result
	errs   []error
}

// New makes a plan of what this machine can do, and builds what it needs. Files
// are made in dir. Where CI=true, what `make tools` installs must be there.
func New(ctx context.Context, dir string, o PlanOptions) (*Campaign, error) {
	c := &Campaign{dir: dir, Killed: func(int) {}}
	if err := canTrace(ctx); err != nil {
		if os.Getenv("CI") == "true" {
			return nil, fmt.Errorf("%w: `make tools` installs it", err)
		}
		o.NoTrace = true
		c.LeftOut = append(c.LeftOut, fmt.Sprintf("slow and broken disks, and kills at a sync: %v (`make tools` installs it)", err))
	}
	if err := canMount(dir); err != nil {
		o.NoMount = true
		c.LeftOut = append(c.LeftOut, fmt.Sprintf("full disks: %v (root may)", err))
	}
	var err error
	if c.Plan, err = NewPlan(&o); err != nil {
		return nil, err
	}
	if c.server, err = os.Executable(); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(c.Plan, func(w World) bool { return w.Kind == serverproc.Clock }) {
		c.clocked, err = buildClocked(ctx, dir, mainPackage)
	}
	return c, err
}

// Names of counts, beside those of package check, points (kills there; if the
// point was not reached, at random) and rules (findings). Full is how often the
// disk was full, Unavailable how many calls were refused for that.
const (
	Kills       = "kills"
	Cuts        = "cuts"
	Clients     = "clients killed"
	Steps       = "clock steps"
	Backups     = "backups"
	Full        = "full disks"
	Unavailable = "refusals"
)

// Result is what a campaign has found.
type Result struct {
	Counts   check.Counts
	Findings []check.Finding
	// Failed are the worlds with findings, Kept where their evidence is.
	Failed []int
	Kept   []string
	// Stopped reports that the plan was not carried out to its end.
	Stopped bool
	Took    time.Duration
}

// String returns the result in one line.
func (r *Result) String() string {
	names := []string{
		Cuts, Clients, Steps, Backups, Full, Unavailable,
		check.Calls, check.Acknowledged, check.Ended, check.Attempts, check.Chunks, check.Discarded,
	}
	for _, rule := range check.Rules {
		names = append(names, string(rule))
	}
	var points []string
	for _, p := range Points() {
		if n := r.Counts[string(p)]; n > 0 {
			points = append(points, fmt.Sprintf("%d %s", n, p))
		}
	}
	out := fmt.Sprintf("%d kills (%s)", r.Counts[Kills], strings.Join(points, ", "))
	for _, name := range names {
		out += fmt.Sprintf(", %d %s", r.Counts[name], name)
	}
	return fmt.Sprintf("%s in %s", out, r.Took.Round(time.Second/10))
}

// Run carries the plan out until it is done, a world has findings, or ctx ends;
// then what was begun is checked. An error means that it could not be carried
// out, which says nothing about the server.
func (c *Campaign) Run(ctx context.Context) (*Result, error) {
	began := time.Now()
	ctx, c.stop = context.WithCancel(ctx)
	defer c.stop()
	r := &c.result
	r.Counts = check.Counts{}
	var worlds sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for _, p := range c.Plan {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		worlds.Go(func() {
			c.runWorld(ctx, p)
			<-slots
		})
	}
	worlds.Wait()
	r.Stopped = ctx.Err() != nil
	if n := r.Counts[Full]; n >= minFull && r.Counts[Unavailable] == 0 {
		text := fmt.Sprintf("the disk was full %d times, and no call was refused", n)
		r.Findings = append(r.Findings, check.Finding{Rule: check.Disk, Text: text})
	}
	for _, f := range r.Findings {
		r.Counts[string(f.Rule)]++
	}
	r.Took = time.Since(began)
	slices.SortStableFunc(r.Findings, func(a, b check.Finding) int { return cmp.Compare(a.Rule, b.Rule) })
	return r, errors.Join(c.errs...)
}

// runWorld carries out one world, and adds its result.
func (c *Campaign) runWorld(ctx context.Context, p World) {
	dir := filepath.Join(c.dir, fmt.Sprintf("world-%03d", p.Number))
	w := &world{World: p, campaign: c, dir: dir, counts: check.Counts{}}
	err := w.carryOut(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &c.result
	for name, n := range w.counts {
		r.Counts[name] += n
	}
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("world %d (%s): %w", p.Number, p.Kind, err))
	} else if len(w.findings) > 0 {
		r.Findings = append(r.Findings, w.findings...)
		r.Failed, r.Kept = append(r.Failed, p.Number), append(r.Kept, dir)
	} else {
		return
	}
	c.stop()
}

func (c *Campaign) countKill(p serverproc.Point) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result.Counts[string(p)]++
	c.result.Counts[Kills]++
	c.Killed(c.result.Counts[Kills])
}
