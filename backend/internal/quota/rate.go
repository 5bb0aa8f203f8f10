package quota

import (
	"sync/atomic"
	"time"
)

// Rate limits events to a number per second, with a burst of the same number. The
// zero value and nil allow everything. It is safe for concurrent use, and costs
// one comparison when nothing is limited.
type Rate struct {
	// every is the cost of one event in time.
	every int64
	// burst is how far the account may be ahead of the clock.
	burst int64
	// paid is the time up to which events have been paid for, in nanoseconds
	// since 1970. Behind the clock, it counts as the clock less burst.
	paid atomic.Int64
}

// NewRate returns a rate of perSecond events a second; 0: no limit.
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

// Take charges one event and returns 0. If the account is empty, it charges
// nothing and returns how long to wait.
func (r *Rate) Take(now time.Time) (wait time.Duration) { return r.charge(now, 0) }

// Burst is the time after which an empty account is full. It is also the largest
// debt.
func (r *Rate) Burst() time.Duration {
	if r == nil {
		return 0
	}
	return time.Duration(r.burst)
}

// Debit is Take for an event that cannot be refused, such as reading a message:
// it charges even an empty account, down to a debt of one burst. deep reports that
// the debt had reached that already.
func (r *Rate) Debit(now time.Time) (wait time.Duration, deep bool) {
	wait = r.charge(now, int64(r.Burst()))
	return wait, wait > r.Burst()
}

// charge advances paid by one event if paid is then at most debt ahead of now, and
// returns how far ahead it is.
func (r *Rate) charge(now time.Time, debt int64) time.Duration {
	if r == nil || r.every == 0 {
		return 0
	}
	at := now.UnixNano()
	for {
		before := r.paid.Load()
		from := before
		if from > at+r.burst {
			from = 0 // the clock was set back: no debt is that large
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

// IsFull reports whether a whole burst is available.
func (r *Rate) IsFull(now time.Time) bool {
	return r == nil || r.every == 0 || r.paid.Load() <= now.UnixNano()-r.burst
}
