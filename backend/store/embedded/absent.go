package embedded

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/pay-theory/streamer/backend/store"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Size of the filter: 2 MiB. With four probes a key, it mistakes 2 % of absent
// keys at 1,000,000 requests, which then cost a read.
const (
	seenBits   = 1 << 24
	seenProbes = 4
)

// seen is a Bloom filter over the keys of all requests that were ever in the
// file while this store was open. It never says absent of a key that is there.
// It is safe for concurrent use. Source: B. H. Bloom, "Space/time trade-offs in
// hash coding with allowable errors", CACM 13 (7), 1970; double hashing after
// Kirsch and Mitzenmacher, 2006.
type seen struct {
	seed maphash.Seed
	bits [seenBits / 64]atomic.Uint64
}

func newSeen() *seen { return &seen{seed: maphash.MakeSeed()} }

// each calls f with the place of every probe of a key, until f returns false.
func (s *seen) each(k store.Key, f func(word *atomic.Uint64, bit uint64) bool) bool {
	h := maphash.Comparable(s.seed, k)
	a, b := uint32(h), uint32(h>>32)|1
	for range seenProbes {
		place := a % seenBits
		if !f(&s.bits[place/64], 1<<(place%64)) {
			return false
		}
		a += b
	}
	return true
}

func (s *seen) add(k store.Key) {
	s.each(k, func(word *atomic.Uint64, bit uint64) bool {
		word.Or(bit)
		return true
	})
}

func (s *seen) has(k store.Key) bool {
	return s.each(k, func(word *atomic.Uint64, bit uint64) bool { return word.Load()&bit != 0 })
}

// fill adds the keys that the file holds.
func (s *seen) fill(conn *sqlite.Conn) error {
	return sqlitex.ExecuteTransient(conn, "SELECT tenant, id FROM requests", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			s.add(store.Key{Tenant: stmt.ColumnText(0), ID: stmt.ColumnText(1)})
			return nil
		},
	})
}

// Absent returns true only if no request has the key: most of the time without
// looking.
func (s *Store) Absent(key store.Key) bool { return !s.seen.has(key) }
