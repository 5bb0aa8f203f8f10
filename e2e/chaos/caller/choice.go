package caller

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/pay-theory/streamer/e2e/chaos/job"
	"github.com/pay-theory/streamer/e2e/chaos/journal"
	"github.com/pay-theory/streamer/e2e/chaos/plan"
)

// ask is a call that is wanted.
type ask struct {
	id      string
	action  string
	params  job.Params
	options journal.Options
	// to is the id under which it was acknowledged; empty: it was not.
	to string
	// looks tells that it has ended, and is only looked at again.
	looks bool
}

// choose draws a call for a world of a kind.
func choose(kind plan.Kind, run int, random *rand.Rand) ask {
	a := ask{action: job.Stored, params: draw(kind, random)}
	o := &a.options
	o.Collect, o.Look = random.IntN(4) == 0, random.IntN(8) == 0
	switch n := random.IntN(20); {
	case n < 2:
		a.action = job.Grown
	case n < 4:
		a.action, a.params = job.Echo, job.Params{Salt: random.Int64(), Filler: strings.Repeat("e", random.IntN(200))}
		*o = journal.Options{}
		return a
	case n < 6 && kind != plan.Clean: // there, a key is forgotten while others still ask by it
		o.Key = fmt.Sprintf("key-%d-%d", run, random.Uint64())
	case n < 8:
		o.CancelMs = 1 + random.IntN(200)
		o.May = append(o.May, "cancelled")
	case n < 9:
		o.DelayMs = 1 + random.IntN(300)
	case n < 10:
		o.LeashMs = 1 + random.IntN(400)
		o.May = append(o.May, "cancelled")
	}
	if kind == plan.Clock && random.IntN(6) == 0 {
		// The clock may be stepped behind its deadline. A failure then ends the
		// call at once, for its retry would come too late.
		o.TimeoutMs = 3_600_000
		o.May = append(o.May, "deadline_exceeded")
		if a.params.FailAt >= 0 {
			o.May = append(o.May, "internal")
		}
	}
	return a
}

// draw draws a job.
func draw(kind plan.Kind, random *rand.Rand) job.Params {
	p := job.Params{Chunks: random.IntN(30), PaceMicros: random.IntN(12_000), Pad: random.IntN(64), FailAt: -1, Salt: random.Int64()}
	switch {
	case kind == plan.Heavy:
		p.PaceMicros, p.Pad = random.IntN(1000), 2000+random.IntN(8000)
	case kind == plan.FullDisk:
		p.Pad, p.Filler = 500+random.IntN(1500), strings.Repeat("f", random.IntN(2000))
	case kind == plan.Clean && random.IntN(12) == 0:
		p.Chunks, p.PaceMicros = 60, 50_000 // longer than the retention
	case random.IntN(10) == 0:
		p.Chunks, p.PaceMicros = 40, 15_000
	}
	if random.IntN(2) == 0 {
		p.CheckpointEvery = 1 + random.IntN(8)
	}
	if p.Chunks > 1 && random.IntN(3) == 0 {
		p.FailAt = random.IntN(p.Chunks)
	}
	if p.Chunks > 1 && random.IntN(6) == 0 {
		p.ContinueAt = 1 + random.IntN(p.Chunks-1)
	}
	return p
}
