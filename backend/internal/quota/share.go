// Package quota holds the arithmetic of limits: how many of a fixed number of
// places one tenant may take, and how often events may happen. Callers pass the
// time.
package quota

import "sync/atomic"

// ShareFactor is how many places a tenant may hold for each free place: the only
// active tenant gets four places in five, the next one four fifths of the rest,
// and so on. No places are reserved for idle tenants, and no tenant can take the
// last ones.
const ShareFactor = 4

// WithinFairShare reports whether a tenant that holds own of size places may take
// one more. All tenants together hold used places.
func WithinFairShare(own, used, size int64) bool { return own < ShareFactor*(size-used) }

// Pool is a number of places that tenants share. It is safe for concurrent use.
type Pool struct {
	size int64
	used atomic.Int64
}

// Share is what one tenant holds of a pool. The zero value holds nothing.
type Share struct{ used atomic.Int64 }

// NewPool returns a pool of so many places.
func NewPool(size int) *Pool { return &Pool{size: int64(size)} }

// Reserve takes n places, all or none, and reports whether it did. They count as
// the share's; a nil share belongs to no tenant and has no fair share to keep.
// Concurrent calls may be refused more often than necessary, never too rarely.
func (p *Pool) Reserve(s *Share, n int64) bool {
	used := p.used.Add(n)
	fits := used <= p.size
	if s != nil {
		own := s.used.Add(n)
		used = p.used.Load() // with what others reserved in between
		fits = fits && WithinFairShare(own-1, used-1, p.size)
	}
	if !fits {
		p.Release(s, n)
	}
	return fits
}

// Release gives back places that Reserve took for the same share.
func (p *Pool) Release(s *Share, n int64) {
	p.used.Add(-n)
	if s != nil {
		s.used.Add(-n)
	}
}

// IsEmpty reports whether the share holds nothing.
func (s *Share) IsEmpty() bool { return s.used.Load() == 0 }
