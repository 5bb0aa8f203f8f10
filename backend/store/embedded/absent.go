package embedded

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/pay-theory/streamer/backend/store"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Sizes of the filter. A layer has room for so many keys: with 16 bits and four
// probes for each, a full one mistakes one absent key in 400, which then costs a
// read. A layer that is full gets another one above it, as large as all below
// together, up to 64 MiB in all: that is room for 32 million requests. From
// there on mistakes become more: one in 40 at twice as many, one in four at five
// times as many.
const (
	seenBitsPerKey = 16
	seenProbes     = 4
	seenMin        = 1 << 17 // keys of the first layer at least: 256 KiB
	seenMax        = 1 << 25 // keys of all layers at most
)

// seen is a scalable Bloom filter over the keys of all requests that were ever
// in the file while this store was open. It never says absent of a key that is
// there. It is safe for concurrent use. Sources: B. H. Bloom, "Space/time
// trade-offs in hash coding with allowable errors", CACM 13 (7), 1970; double
// hashing after Kirsch and Mitzenmacher, 2006; layers after Almeida, Baquero,
// Preguiça and Hutchison, "Scalable Bloom Filters", 2007.
type seen struct {
	seed   maphash.Seed
	mu     sync.Mutex // of who adds a layer
	layers atomic.Pointer[[]*seenLayer]
}

type seenLayer struct {
	bits []atomic.Uint64
	room atomic.Int64 // for how many keys
}

// newSeen returns a filter with room for so many keys, and more as they come.
func newSeen(keys int64) *seen {
	s := &seen{seed: maphash.MakeSeed()}
	first := int64(seenMin)
	for first < keys && first < seenMax {
		first *= 2
	}
	s.layers.Store(&[]*seenLayer{newSeenLayer(first)})
	return s
}

func newSeenLayer(keys int64) *seenLayer {
	l := &seenLayer{bits: make([]atomic.Uint64, keys*seenBitsPerKey/64)}
	l.room.Store(keys)
	return l
}

// each calls f with the place of every probe of a hash, until f returns false.
func (l *seenLayer) each(hash uint64, f func(word *atomic.Uint64, bit uint64) bool) bool {
	mask := uint64(len(l.bits))*64 - 1
	a, b := hash, hash>>32|1
	for range seenProbes {
		place := a & mask
		if !f(&l.bits[place/64], 1<<(place%64)) {
			return false
		}
		a += b
	}
	return true
}

func (l *seenLayer) has(hash uint64) bool {
	return l.each(hash, func(word *atomic.Uint64, bit uint64) bool { return word.Load()&bit != 0 })
}

func (s *seen) has(k store.Key) bool { return s.holds(maphash.Comparable(s.seed, k)) }

func (s *seen) holds(hash uint64) bool {
	for _, l := range *s.layers.Load() {
		if l.has(hash) {
			return true
		}
	}
	return false
}

func (s *seen) add(k store.Key) {
	hash := maphash.Comparable(s.seed, k)
	if s.holds(hash) {
		return
	}
	layers := *s.layers.Load()
	last := layers[len(layers)-1]
	last.each(hash, func(word *atomic.Uint64, bit uint64) bool {
		word.Or(bit)
		return true
	})
	if last.room.Add(-1) <= 0 {
		s.grow(last)
	}
}

// grow puts a layer above the one that is full.
func (s *seen) grow(full *seenLayer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	layers := *s.layers.Load()
	bits := 0
	for _, l := range layers {
		bits += len(l.bits) * 64
	}
	if keys := int64(bits / seenBitsPerKey); layers[len(layers)-1] == full && keys < seenMax {
		above := append(append([]*seenLayer(nil), layers...), newSeenLayer(keys))
		s.layers.Store(&above)
	}
}

// fill adds the keys that the file holds.
func (s *seen) fill(conn *sqlite.Conn) error {
	return sqlitex.ExecuteTransient(conn, "SELECT tenant, id FROM requests INDEXED BY requests_by_id", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			s.add(store.Key{Tenant: stmt.ColumnText(0), ID: stmt.ColumnText(1)})
			return nil
		},
	})
}

// MayExist implements store.ExistenceFilter.
func (s *Store) MayExist(key store.Key) bool { return s.seen.has(key) }
