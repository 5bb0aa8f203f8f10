package server

import (
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/session"
)

// Of paces.
const (
	// quick is how short calls are that may be performed by the goroutine that
	// reads: about what it costs to hand them to another.
	quick = 250 * time.Microsecond
	// A quick call counts one point; one that is not costs slowCosts. On a
	// busy machine one call in ten is slow for want of a processor alone; an
	// action of which one call in four is slow loses all points.
	mostPoints = 32
	slowCosts  = 3
	// trusted is how many points an action needs.
	trusted = 12
)

// leastAnswer is what an answer is taken to need before an action's are known,
// and at least.
const leastAnswer = 2 << 10

// pace says whether calls of an action that are not stored have been quick of
// late, and how large their answers were. It is safe for concurrent use; nil is
// never quick.
type pace struct {
	// once tells that the action answers once, so that quickness counts.
	once   bool
	points atomic.Int32
	size   atomic.Int64
}

func (p *pace) took(d time.Duration) {
	before := p.points.Load()
	after := max(before-slowCosts, 0)
	if d < quick {
		after = min(before+1, mostPoints)
	}
	if after != before {
		p.points.CompareAndSwap(before, after) // one more or less does not matter
	}
}

func (p *pace) quick() bool { return p != nil && p.points.Load() >= trusted }

func (p *pace) timed() bool { return p != nil && p.once }

// answered notes the size of an answer. The largest counts, and less and less
// when all that follow are half as large: so answers of one size write nothing.
func (p *pace) answered(size int) {
	if p == nil {
		return
	}
	switch before, n := p.size.Load(), int64(size); {
	case n > before:
		p.size.CompareAndSwap(before, n)
	case n < before/2 && before > leastAnswer:
		p.size.CompareAndSwap(before, before-before/64)
	}
}

// answer is what the next one is taken to need.
func (p *pace) answer() int64 { return max(p.size.Load(), leastAnswer) }

// newPaces returns a pace for each action. Those count as quick ever that run
// inline unless the request says otherwise, and answer once.
func newPaces(r *core.Registry) map[*core.Action]*pace {
	out := map[*core.Action]*pace{}
	for _, a := range r.Actions {
		out[a] = &pace{once: !a.Stream && a.Placement != core.Async && a.Expect == nil}
	}
	return out
}

// paceOf returns the pace of what an effect calls, nil for all that is not an
// inline call.
func (s *Server) paceOf(e session.Effect) *pace {
	submit, ok := e.(session.Submit)
	if !ok || submit.Request.StoredFirst(s.options.Threshold) {
		return nil
	}
	return s.paces[submit.Request.Action]
}
