// Package memory implements [store.RequestQueue] with its optional interfaces,
// and [store.ConnectionStore], in the memory of one process. It is meant for
// tests, which may set the clock.
package memory

import (
	"context"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// Options configure a store. The zero value and nil are valid.
type Options struct {
	// Now is the store's clock. Default time.Now.
	Now func() time.Time
	// Retention is how long a request is kept after its end. Default
	// store.DefaultRetention.
	Retention time.Duration
	// Shards is the number of shards of Due. Default store.DefaultShards.
	Shards int
}

// Store is a store in memory. It is safe for concurrent use. It starts no
// goroutines and needs no closing.
type Store struct {
	opt Options

	mu          sync.Mutex
	requests    map[store.Key]*record
	live        []map[store.Key]*record // by shard
	keys        map[idempotencyKey]store.Key
	cancels     map[cancelKey]time.Time // when the retained cancel expires
	connections map[store.Key]store.Connection
}

var (
	_ store.RequestQueue    = (*Store)(nil)
	_ store.Retainer        = (*Store)(nil)
	_ store.Operator        = (*Store)(nil)
	_ store.Watcher         = (*Store)(nil)
	_ store.Checker         = (*Store)(nil)
	_ store.ConnectionStore = (*Store)(nil)
)

// New returns an empty store. Options may be nil.
func New(options *Options) *Store {
	s := &Store{
		requests:    map[store.Key]*record{},
		keys:        map[idempotencyKey]store.Key{},
		cancels:     map[cancelKey]time.Time{},
		connections: map[store.Key]store.Connection{},
	}
	if options != nil {
		s.opt = *options
	}
	if s.opt.Now == nil {
		s.opt.Now = time.Now
	}
	if s.opt.Retention <= 0 {
		s.opt.Retention = store.DefaultRetention
	}
	if s.opt.Shards <= 0 {
		s.opt.Shards = store.DefaultShards
	}
	s.live = make([]map[store.Key]*record, s.opt.Shards)
	for i := range s.live {
		s.live[i] = map[store.Key]*record{}
	}
	return s
}

// Check implements store.Checker.
func (s *Store) Check(ctx context.Context) error { return ctx.Err() }
