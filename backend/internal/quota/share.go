// Package quota holds the arithmetic of limits: how many of a fixed number of
// places one tenant may take, and how often something may happen. It knows
// neither clocks nor what is counted.
package quota

import "sync/atomic"

// Generosity is how many places a tenant may hold for each one that is free: a
// tenant that is alone gets four places in five, the next one four fifths of
// what is left then, and so on. Nobody has places set aside that lie idle, and
// nobody can take the last ones.
const Generosity = 4

// Fair tells whether somebody who holds own of size places, of which all
// together hold used, may have one more.
func Fair(own, used, size int64) bool { return own < Generosity*(size-used) }

// Pool is a number of places that tenants share. It is safe for concurrent use.
type Pool struct {
	size int64
	used atomic.Int64
}

// Share is what one tenant holds of a pool. The zero value holds nothing.
type Share struct{ used atomic.Int64 }

// NewPool returns a pool of so many places.
func NewPool(size int) *Pool { return &Pool{size: int64(size)} }

// Take takes n places for the tenant whose share it is, nil for nobody's, and
// tells whether they were there: all or none. Of callers that come at the same
// time more than necessary may be refused, never too few.
func (p *Pool) Take(s *Share, n int64) bool {
	used := p.used.Add(n)
	fits := used <= p.size
	if s != nil {
		own := s.used.Add(n)
		fits = fits && Fair(own-1, used-1, p.size)
	}
	if !fits {
		p.Give(s, n)
	}
	return fits
}

// Give gives back places that Take took for the same share.
func (p *Pool) Give(s *Share, n int64) {
	p.used.Add(-n)
	if s != nil {
		s.used.Add(-n)
	}
}

// Used tells how many places are taken.
func (p *Pool) Used() int64 { return p.used.Load() }

// Idle tells whether the share holds nothing.
func (s *Share) Idle() bool { return s.used.Load() == 0 }
