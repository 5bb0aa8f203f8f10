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

// pace says whether calls of an action that are not stored have been quick of
// late. It is safe for concurrent use; nil is never quick.
type pace struct{ points atomic.Int32 }

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

// newPaces returns a pace for each action that runs inline unless the request
// says otherwise, and that answers once.
func newPaces(r *core.Registry) map[*core.Action]*pace {
	out := map[*core.Action]*pace{}
	for _, a := range r.Actions {
		if !a.Stream && a.Placement != core.Async && a.Expect == nil {
			out[a] = &pace{}
		}
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
