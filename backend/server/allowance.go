package server

import (
	"sync/atomic"

	"github.com/pay-theory/streamer/backend/internal/quota"
)

// A connection's allowance of memory, in bytes.
const (
	// ownMemory is what each may hold without asking: of what is unanswered,
	// and of what waits to be sent.
	ownMemory = 8 << 10
	// memoryStep is in what steps it draws more.
	memoryStep = 32 << 10
)

// allowance is what a connection may hold of the memory that all connections
// share: a little is its own, and more is drawn from the pool in steps, so that
// most never touch what is shared. It is safe for concurrent use. Whoever
// changes what is held at the same time may find that a step too few was drawn;
// the next cover mends it.
type allowance struct {
	pool  *quota.Pool // nil: no bound
	share *quota.Share
	drawn atomic.Int64
}

// cover sees that so much may be held, and tells whether it may.
func (a *allowance) cover(held int64) bool {
	if held <= ownMemory || a.pool == nil {
		return true
	}
	need := steps(held) - a.drawn.Load()
	if need <= 0 {
		return true
	}
	if !a.pool.Take(a.share, need) {
		return false
	}
	a.drawn.Add(need)
	return true
}

// settle gives back what is not needed for so much.
func (a *allowance) settle(held int64) {
	for {
		drawn := a.drawn.Load()
		keep := steps(held)
		if drawn <= keep {
			return
		}
		if a.drawn.CompareAndSwap(drawn, keep) {
			a.pool.Give(a.share, drawn-keep)
			return
		}
	}
}

// steps is what is drawn for so much.
func steps(held int64) int64 {
	over := max(held-ownMemory, 0)
	return (over + memoryStep - 1) / memoryStep * memoryStep
}
