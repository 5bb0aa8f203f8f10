package server

import (
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// Scores of latencyStats.
const (
	// fastCall is how short a call is that its connection's reader may run: about
	// what it costs to hand it to another goroutine.
	fastCall = 250 * time.Microsecond
	// A fast call adds one point, and a slow one takes slowCost. On a busy machine
	// one call in ten is slow because it waits for a processor; an action of which
	// one call in four is slow loses all points.
	maxScore = 32
	slowCost = 3
	// fastScore is how many points a fast action has.
	fastScore = 12
)

// minAnswer is the size that an answer is assumed to have, in bytes, until those
// of its action are known, and at least.
const minAnswer = 2 << 10

// latencyStats are the recent durations and answer sizes of an action's inline
// calls. It is safe for concurrent use. Nil is never fast.
type latencyStats struct {
	// timed says that durations count: the handler returns only once.
	timed bool
	score atomic.Int32
	size  atomic.Int64
}

// newLatencyStats returns the stats of each action. Fast may become those that
// run inline unless the request says otherwise, and return once.
func newLatencyStats(r *core.Registry) map[*core.Action]*latencyStats {
	out := map[*core.Action]*latencyStats{}
	for _, a := range r.Actions {
		out[a] = &latencyStats{timed: !a.Stream && a.Placement != core.Async && a.Expect == nil}
	}
	return out
}

func (l *latencyStats) isFast() bool { return l != nil && l.score.Load() >= fastScore }

func (l *latencyStats) isTimed() bool { return l != nil && l.timed }

func (l *latencyStats) observe(d time.Duration) {
	before := l.score.Load()
	after := max(before-slowCost, 0)
	if d < fastCall {
		after = min(before+1, maxScore)
	}
	if after != before {
		l.score.CompareAndSwap(before, after) // losing one observation does no harm
	}
}

// observeAnswer notes the size of an answer. The largest counts, and decays when
// those that follow are less than half of it: answers of one size write nothing.
func (l *latencyStats) observeAnswer(size int) {
	if l == nil {
		return
	}
	switch before, n := l.size.Load(), int64(max(size, 1)); {
	case n > before:
		l.size.CompareAndSwap(before, n)
	case n < before/2 && before > minAnswer:
		l.size.CompareAndSwap(before, before-before/64)
	}
}

// isMeasured reports whether the size of an answer is known.
func (l *latencyStats) isMeasured() bool { return l == nil || l.size.Load() > 0 }

// answerSize is the size that the next answer is assumed to have.
func (l *latencyStats) answerSize() int64 {
	if l == nil {
		return minAnswer
	}
	return max(l.size.Load(), minAnswer)
}
