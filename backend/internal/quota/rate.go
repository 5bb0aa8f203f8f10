package quota

import (
	"sync/atomic"
	"time"
)

// Rate says how often something may happen: so many times a second, and as
// many at once after a second of rest. The zero value and nil allow everything.
// It is safe for concurrent use, and one comparison when nothing is limited.
type Rate struct {
	// every is the time that one event costs.
	every int64
	// burst is how far the account may be ahead of the clock.
	burst int64
	// paid is the time up to which events have been paid for, in nanoseconds
	// since 1970. Behind the clock, it counts as the clock less burst.
	paid atomic.Int64
}

// NewRate returns a rate of so many events a second; 0: no limit.
func NewRate(perSecond int) *Rate {
	r := &Rate{}
	r.Limit(perSecond)
	return r
}

// Limit sets the rate before its first use; 0: no limit.
func (r *Rate) Limit(perSecond int) {
	if perSecond <= 0 {
		return
	}
	r.every = max(int64(time.Second)/int64(perSecond), 1)
	r.burst = r.every * int64(perSecond)
}

// Take pays for one event, unless the account is empty; then it returns after
// what time it will not be.
func (r *Rate) Take(now time.Time) (wait time.Duration) { return r.pay(now, 0) }

// Burst is the time after which an empty account is full, and the most that is
// owed.
func (r *Rate) Burst() time.Duration {
	if r == nil {
		return 0
	}
	return time.Duration(r.burst)
}

// Owe is Take for what happens anyway, like the reading of a message: that is
// paid for also when the account is empty, down to a debt of one burst. deep
// tells that the debt was as large as that already.
func (r *Rate) Owe(now time.Time) (wait time.Duration, deep bool) {
	wait = r.pay(now, int64(r.Burst()))
	return wait, wait > r.Burst()
}

// pay moves paid on by one event if it is then at most debt ahead of now, and
// returns by how much it is ahead.
func (r *Rate) pay(now time.Time, debt int64) time.Duration {
	if r == nil || r.every == 0 {
		return 0
	}
	at := now.UnixNano()
	for {
		before := r.paid.Load()
		from := before
		if from > at+r.burst {
			from = 0 // the clock was set back: nobody owes as much
		}
		after := max(from, at-r.burst) + r.every
		ahead := after - at
		if ahead > debt {
			return time.Duration(ahead)
		}
		if r.paid.CompareAndSwap(before, after) {
			return time.Duration(max(ahead, 0))
		}
	}
}

// Full tells whether the account is as full as it gets.
func (r *Rate) Full(now time.Time) bool {
	return r == nil || r.every == 0 || r.paid.Load() <= now.UnixNano()-r.burst
}
