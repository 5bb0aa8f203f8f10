package server

import (
	"sync/atomic"

	"github.com/pay-theory/streamer/backend/internal/quota"
)

// What a connection may hold of the memory that all connections share, in bytes.
const (
	// ownMemory is free for each connection: of what is unanswered, and of what
	// waits to be sent.
	ownMemory = 8 << 10
	// memoryStep is the unit in which more is taken.
	memoryStep = 32 << 10
)

// memoryBudget is what a connection may hold of the shared memory: a little is
// free, and more is taken from the pool in steps, so that most connections never
// use what is shared. It is safe for concurrent use. Goroutines that change what
// is held at the same time may take one step too few; the next Reserve corrects
// that.
type memoryBudget struct {
	pool  *quota.Pool // nil: no limit
	share *quota.Share
	taken atomic.Int64
}

// Reserve reports whether so many bytes may be held in all.
func (b *memoryBudget) Reserve(held int64) bool {
	if held <= ownMemory || b.pool == nil {
		return true
	}
	need := inSteps(held) - b.taken.Load()
	if need <= 0 {
		return true
	}
	if !b.pool.Reserve(b.share, need) {
		return false
	}
	b.taken.Add(need)
	return true
}

// ReleaseTo gives back what is not needed for so many bytes.
func (b *memoryBudget) ReleaseTo(held int64) {
	for {
		taken, keep := b.taken.Load(), inSteps(held)
		if taken <= keep {
			return
		}
		if b.taken.CompareAndSwap(taken, keep) {
			b.pool.Release(b.share, taken-keep)
			return
		}
	}
}

// inSteps is what is taken for so many bytes.
func inSteps(held int64) int64 {
	over := max(held-ownMemory, 0)
	return (over + memoryStep - 1) / memoryStep * memoryStep
}
