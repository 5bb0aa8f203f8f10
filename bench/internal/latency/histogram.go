// Package latency counts durations in buckets that grow with what they hold.
package latency

import (
	"math/bits"
	"time"
)

// A bucket is as wide as 1/32 of the power of two that it lies in, so that a
// quantile, told by its bucket's middle, is wrong by less than 1.6 %.
const (
	linearBits = 5
	linear     = 1 << linearBits
	// longest is the power of two, in nanoseconds, that everything longer
	// counts as: 69 s.
	longest = 36
	buckets = (longest - linearBits + 1) * linear
)

// Histogram counts durations from 0 to 69 s; what is longer counts as that,
// and what is negative as 0. The zero value is empty. It is not safe for
// concurrent use: each goroutine has its own, and they are added up.
type Histogram struct {
	counts [buckets]uint32
	n      uint64
	max    time.Duration
}

func bucket(d time.Duration) int {
	n := uint64(min(max(d, 0), 1<<longest-1))
	if n < linear {
		return int(n)
	}
	shift := bits.Len64(n) - linearBits - 1
	return (shift+1)<<linearBits + int(n>>shift) - linear
}

// middle is the middle of a bucket.
func middle(i int) time.Duration {
	if i < linear {
		return time.Duration(i)
	}
	shift := i>>linearBits - 1
	low := uint64(i&(linear-1)+linear) << shift
	return time.Duration(low + 1<<shift/2)
}

// Record counts a duration.
func (h *Histogram) Record(d time.Duration) {
	h.counts[bucket(d)]++
	h.n++
	h.max = max(h.max, d)
}

// Add counts all that another histogram has counted.
func (h *Histogram) Add(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// Count tells how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.n }

// Max returns the longest duration, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns the duration that a share q, from 0 to 1, of all were not
// longer than; 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := min(uint64(q*float64(h.n)), max(h.n, 1)-1)
	var seen uint64
	for i, n := range h.counts {
		if seen += uint64(n); seen > rank {
			return min(middle(i), h.max)
		}
	}
	return 0
}
