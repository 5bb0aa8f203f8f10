// Package campaign carries out a plan: it starts servers and clients, kills
// them, breaks what is around them, and has what they leave behind judged.
package campaign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/judge"
	"github.com/pay-theory/streamer/e2e/chaos/plan"
)

// Options are what a campaign is carried out with.
type Options struct {
	Plan plan.Plan
	// Program is started as server and client: it must hand over to
	// victim.Serve and caller.Serve when their variables are set.
	Program string
	// Server is started as server instead, where that is not empty; Clocked
	// where the clock is stepped, and is built by faults.BuildClocked.
	Server, Clocked string
	// Dir is where the worlds are made. Those in which everything went well are
	// removed.
	Dir string
	// Parallel is how many worlds there are at a time. Default 1.
	Parallel int
	// Killed is called when a server was killed, with how many were so far, one
	// call at a time.
	Killed func(kills int)
}

// Verdict is what a campaign came to.
type Verdict struct {
	judge.Counts
	// Kills counts by the moment at which they came. What was planned for a
	// moment that did not come counts as random.
	Kills map[plan.Point]int
	// Cuts counts connections, Clients client processes, Steps those of the
	// clock, Copies backups that the run went on from.
	Cuts, Clients, Steps, Copies int
	// Full counts how often the disk was full, Unavailable the calls that were
	// refused for that, NotReady how often /readyz said so, Unstarted the
	// starts that failed on full and broken disks.
	Full, Unavailable, NotReady, Unstarted int
	Findings                               []judge.Finding
	// Worlds is how many were judged; Failed those with findings, Kept where
	// their evidence lies.
	Worlds int
	Failed []int
	Kept   []string
	// Stopped tells that the plan was not carried out to its end.
	Stopped bool
	Took    time.Duration
}

// KillCount returns the number of all kills.
func (v *Verdict) KillCount() (n int) {
	for _, k := range v.Kills {
		n += k
	}
	return n
}

// Found returns how many findings there are of a rule.
func (v *Verdict) Found(rules ...judge.Rule) (n int) {
	for i := range v.Findings {
		if slices.Contains(rules, v.Findings[i].Rule) {
			n++
		}
	}
	return n
}

// String returns the verdict in one line.
func (v *Verdict) String() string {
	var points []string
	for _, d := range plan.Describe() {
		if n := v.Kills[d.Point]; n > 0 {
			points = append(points, fmt.Sprintf("%d %s", n, d.Point))
		}
	}
	parts := []string{
		fmt.Sprintf("%d kills (%s)", v.KillCount(), strings.Join(points, ", ")),
		fmt.Sprintf("%d cuts", v.Cuts), fmt.Sprintf("%d clients killed", v.Clients), fmt.Sprintf("%d clock steps", v.Steps),
		fmt.Sprintf("%d backups", v.Copies), fmt.Sprintf("%d full disks (%d refusals)", v.Full, v.Unavailable),
		fmt.Sprintf("%d calls, %d acknowledged, %d ends", v.Asked, v.Acknowledged, v.Ended),
		fmt.Sprintf("%d attempts, %d chunks of which %d void", v.Attempts, v.Chunks, v.Void),
		fmt.Sprintf("%d lost, %d doubled, %d gaps, %d overlaps, %d run anew, %d strangers", v.Found(judge.Lost, judge.Retention, judge.Unended),
			v.Found(judge.Doubled, judge.Key), v.Found(judge.Gap), v.Found(judge.Overlap), v.Found(judge.Anew), v.Found(judge.Stranger)),
	}
	if n := v.Found(judge.Wrong, judge.Crash, judge.Disk); n > 0 {
		parts = append(parts, fmt.Sprintf("%d other findings", n))
	}
	return fmt.Sprintf("%s in %s", strings.Join(parts, ", "), v.Took.Round(time.Second/10))
}

// feltFull is from how many full disks on some must have been felt: a server
// may write for a while into the room that its log already has.
const feltFull = 10

// campaign is one that is under way.
type campaign struct {
	Options
	began time.Time
	// stop keeps worlds from going on once one has findings.
	stop context.CancelFunc

	mu      sync.Mutex
	verdict Verdict
	errs    []error
}

// Run carries a plan out until it is done, a world has findings, or ctx ends;
// then what was begun is judged. An error means that it could not be carried
// out, which says nothing about the server.
func Run(ctx context.Context, o *Options) (Verdict, error) {
	c := &campaign{Options: *o, began: time.Now()}
	c.verdict.Kills = map[plan.Point]int{}
	running, stop := context.WithCancel(ctx)
	defer stop()
	c.stop = stop
	var workers sync.WaitGroup
	worlds := make(chan plan.World)
	for range max(1, c.Parallel) {
		workers.Go(func() {
			for w := range worlds {
				c.world(running, w)
			}
		})
	}
	for _, w := range c.Plan.Worlds {
		select {
		case worlds <- w:
			continue
		case <-running.Done():
		}
		c.mu.Lock()
		c.verdict.Stopped = true
		c.mu.Unlock()
		break
	}
	close(worlds)
	workers.Wait()
	v := &c.verdict
	if v.Full >= feltFull && v.Unavailable == 0 {
		v.Findings = append(v.Findings, judge.Finding{
			Rule: judge.Disk, Text: fmt.Sprintf("the disk was full %d times, and no call was refused", v.Full),
		})
	}
	v.Took = time.Since(c.began)
	slices.SortFunc(v.Findings, func(a, b judge.Finding) int { return cmp.Compare(a.Rule, b.Rule) })
	return *v, errors.Join(c.errs...)
}

// world carries out one world, and takes what it came to.
func (c *campaign) world(ctx context.Context, p plan.World) {
	w, err := newWorld(c, p)
	if err == nil {
		err = w.run(ctx)
	}
	if err != nil {
		c.stop()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("world %d (%s): %w", p.Number, p.Kind, err))
		return
	}
	v := &c.verdict
	v.Add(w.report.Counts)
	v.Worlds++
	v.Cuts += w.cuts
	v.Clients += w.clients
	v.Steps += w.steps
	v.Copies += w.copies
	v.Full += w.full
	v.Unavailable += w.unavailable
	v.NotReady += w.notReady
	v.Unstarted += w.unstarted
	v.Stopped = v.Stopped || w.stopped
	if findings := w.report.Findings; len(findings) > 0 {
		v.Findings = append(v.Findings, findings...)
		v.Failed = append(v.Failed, p.Number)
		v.Kept = append(v.Kept, w.dir)
		c.stop()
	}
}

// killed counts a kill.
func (c *campaign) killed(p plan.Point) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kills := maps.Clone(c.verdict.Kills)
	kills[p]++
	c.verdict.Kills = kills
	if c.Killed != nil {
		c.Killed(c.verdict.KillCount())
	}
}
