package embedded

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pay-theory/streamer/backend/store"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Sizes of the filter. A layer has a capacity of keys. With 16 bits and four
// probes for each key, a full layer has one false positive in 400 unknown keys,
// which costs a read. When the last layer is full, another one is added that is
// as large as all others together, up to 64 MiB in total: enough for 32 million
// requests. After that the rate of false positives rises: one in 40 with twice as
// many requests, one in four with five times as many.
const (
	filterBitsPerKey = 16
	filterProbes     = 4
	filterMinKeys    = 1 << 17 // minimal capacity of the first layer: 256 KiB
	filterMaxKeys    = 1 << 25 // maximal capacity of all layers
)

// idFilter is a scalable Bloom filter over the keys of all requests that were in
// the file at any time since it was opened. It has no false negatives. It is safe
// for concurrent use. Sources: B. H. Bloom, "Space/time trade-offs in hash coding
// with allowable errors", CACM 13 (7), 1970; double hashing after Kirsch and
// Mitzenmacher, 2006; layers after Almeida, Baquero, Preguiça and Hutchison,
// "Scalable Bloom Filters", 2007.
type idFilter struct {
	seed   maphash.Seed
	mu     sync.Mutex // held while a layer is added
	layers atomic.Pointer[[]*filterLayer]
}

type filterLayer struct {
	bits      []atomic.Uint64
	remaining atomic.Int64 // capacity that is left, in keys
}

// newIDFilter returns a filter with an initial capacity of keys.
func newIDFilter(keys int64) *idFilter {
	s := &idFilter{seed: maphash.MakeSeed()}
	first := int64(filterMinKeys)
	for first < keys && first < filterMaxKeys {
		first *= 2
	}
	s.layers.Store(&[]*filterLayer{newFilterLayer(first)})
	return s
}

func newFilterLayer(keys int64) *filterLayer {
	l := &filterLayer{bits: make([]atomic.Uint64, keys*filterBitsPerKey/64)}
	l.remaining.Store(keys)
	return l
}

// eachProbe calls f with the position of each probe of a hash, until f returns
// false.
func (l *filterLayer) eachProbe(hash uint64, f func(word *atomic.Uint64, bit uint64) bool) bool {
	mask := uint64(len(l.bits))*64 - 1
	a, b := hash, hash>>32|1
	for range filterProbes {
		place := a & mask
		if !f(&l.bits[place/64], 1<<(place%64)) {
			return false
		}
		a += b
	}
	return true
}

func (l *filterLayer) contains(hash uint64) bool {
	return l.eachProbe(hash, func(word *atomic.Uint64, bit uint64) bool { return word.Load()&bit != 0 })
}

func (s *idFilter) contains(k store.Key) bool { return s.containsHash(maphash.Comparable(s.seed, k)) }

func (s *idFilter) containsHash(hash uint64) bool {
	for _, l := range *s.layers.Load() {
		if l.contains(hash) {
			return true
		}
	}
	return false
}

func (s *idFilter) insert(k store.Key) {
	hash := maphash.Comparable(s.seed, k)
	if s.containsHash(hash) {
		return
	}
	layers := *s.layers.Load()
	last := layers[len(layers)-1]
	last.eachProbe(hash, func(word *atomic.Uint64, bit uint64) bool {
		word.Or(bit)
		return true
	})
	if last.remaining.Add(-1) <= 0 {
		s.addLayer(last)
	}
}

// addLayer adds a layer, unless full is not the last one any more.
func (s *idFilter) addLayer(full *filterLayer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	layers := *s.layers.Load()
	bits := 0
	for _, l := range layers {
		bits += len(l.bits) * 64
	}
	if keys := int64(bits / filterBitsPerKey); layers[len(layers)-1] == full && keys < filterMaxKeys {
		above := append(slices.Clone(layers), newFilterLayer(keys))
		s.layers.Store(&above)
	}
}

// loadKeys inserts the keys of all requests in the file.
func (s *idFilter) loadKeys(conn *sqlite.Conn) error {
	return sqlitex.ExecuteTransient(conn, "SELECT tenant, id FROM requests INDEXED BY requests_by_id", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			s.insert(store.Key{Tenant: stmt.ColumnText(0), ID: stmt.ColumnText(1)})
			return nil
		},
	})
}

// MayExist implements store.ExistenceFilter.
func (s *Store) MayExist(key store.Key) bool { return s.idFilter.contains(key) }
