package deliver

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// stripes is into how many parts, each with its own lock, subscriptions are
// split.
const stripes = 64

// Subscriptions is a [store.SubscriptionStore] in the memory of one process,
// for a server that holds its sockets itself. It is safe for concurrent use.
//
// A subscription is in two indexes, by stream and by connection. Lock order:
// the connection's stripe, then the stream's.
type Subscriptions struct {
	now           func() time.Time
	seed          maphash.Seed
	byStream      [stripes]streamStripe
	byConnections [stripes]connectionStripe
}

type streamStripe struct {
	mu        sync.RWMutex
	audiences map[store.Key]*audience // by tenant and stream
}

// audience is who follows one stream.
type audience struct {
	subscriptions map[string]*store.Subscription // by connection
	// sorted is what Subscribers returns, oldest first; nil: to be computed. It
	// is replaced, never changed, so that callers may share it.
	sorted []store.Subscription
	// validUntil is when the first of sorted expires; zero: never.
	validUntil time.Time
}

type connectionStripe struct {
	mu      sync.Mutex
	streams map[store.Key]map[string]struct{} // by tenant and connection
}

var _ store.SubscriptionStore = (*Subscriptions)(nil)

// NewSubscriptions returns an empty store. Now is its clock; nil: time.Now.
func NewSubscriptions(now func() time.Time) *Subscriptions {
	if now == nil {
		now = time.Now
	}
	return &Subscriptions{now: now, seed: maphash.MakeSeed()}
}

func (s *Subscriptions) streamStripe(k store.Key) *streamStripe {
	return &s.byStream[maphash.Comparable(s.seed, k)%stripes]
}

func (s *Subscriptions) connectionStripe(k store.Key) *connectionStripe {
	return &s.byConnections[maphash.Comparable(s.seed, k)%stripes]
}

func expired(expires, now time.Time) bool { return !expires.IsZero() && !now.Before(expires) }

// Subscribe implements store.SubscriptionStore.
func (s *Subscriptions) Subscribe(_ context.Context, sub store.Subscription) (added bool, err error) {
	stream, connection := store.Key{Tenant: sub.Tenant, ID: sub.Stream}, store.Key{Tenant: sub.Tenant, ID: sub.Connection}
	c := s.connectionStripe(connection)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams == nil {
		c.streams = map[store.Key]map[string]struct{}{}
	}
	if c.streams[connection] == nil {
		c.streams[connection] = map[string]struct{}{}
	}
	c.streams[connection][sub.Stream] = struct{}{}
	p := s.streamStripe(stream)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.audiences == nil {
		p.audiences = map[store.Key]*audience{}
	}
	a := p.audiences[stream]
	if a == nil {
		a = &audience{subscriptions: map[string]*store.Subscription{}}
		p.audiences[stream] = a
	}
	before := a.subscriptions[sub.Connection]
	a.subscriptions[sub.Connection], a.sorted = &sub, nil
	return before == nil || expired(before.Expires, s.now()), nil
}

// Unsubscribe implements store.SubscriptionStore.
func (s *Subscriptions) Unsubscribe(_ context.Context, tenant, stream, connection string) (removed bool, err error) {
	by := store.Key{Tenant: tenant, ID: connection}
	c := s.connectionStripe(by)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(by, stream)
	sub := s.leave(store.Key{Tenant: tenant, ID: stream}, connection)
	return sub != nil && !expired(sub.Expires, s.now()), nil
}

// remove takes a stream out of what a connection follows. The stripe is locked.
func (c *connectionStripe) remove(connection store.Key, stream string) {
	streams := c.streams[connection]
	delete(streams, stream)
	if len(streams) == 0 {
		delete(c.streams, connection)
	}
}

// leave takes a connection out of a stream's audience, and returns its
// subscription; nil: there was none.
func (s *Subscriptions) leave(stream store.Key, connection string) *store.Subscription {
	p := s.streamStripe(stream)
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.audiences[stream]
	if a == nil || a.subscriptions[connection] == nil {
		return nil
	}
	sub := a.subscriptions[connection]
	delete(a.subscriptions, connection)
	a.sorted = nil
	if len(a.subscriptions) == 0 {
		delete(p.audiences, stream)
	}
	return sub
}

// Subscribers implements store.SubscriptionStore. The caller must not change
// what it returns. It costs one look-up while the subscriptions of the stream
// do not change.
func (s *Subscriptions) Subscribers(_ context.Context, tenant, stream string) ([]store.Subscription, error) {
	key := store.Key{Tenant: tenant, ID: stream}
	p := s.streamStripe(key)
	p.mu.RLock()
	a := p.audiences[key]
	if a == nil {
		p.mu.RUnlock()
		return nil, nil
	}
	sorted, until := a.sorted, a.validUntil
	p.mu.RUnlock()
	if sorted != nil && !expired(until, s.now()) {
		return sorted, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a = p.audiences[key]; a == nil {
		return nil, nil
	}
	a.sort(s.now())
	return a.sorted, nil
}

// sort computes sorted. The stripe is locked.
func (a *audience) sort(now time.Time) {
	a.sorted, a.validUntil = make([]store.Subscription, 0, len(a.subscriptions)), time.Time{}
	for _, sub := range a.subscriptions {
		if expired(sub.Expires, now) {
			continue
		}
		a.sorted = append(a.sorted, *sub)
		if !sub.Expires.IsZero() && (a.validUntil.IsZero() || sub.Expires.Before(a.validUntil)) {
			a.validUntil = sub.Expires
		}
	}
	slices.SortFunc(a.sorted, compareSubscriptions)
}

func compareSubscriptions(x, y store.Subscription) int {
	return cmp.Or(x.Since.Compare(y.Since), cmp.Compare(x.Connection, y.Connection), cmp.Compare(x.Stream, y.Stream))
}

// Pause implements store.SubscriptionStore.
func (s *Subscriptions) Pause(_ context.Context, tenant, stream, connection string) error {
	key := store.Key{Tenant: tenant, ID: stream}
	p := s.streamStripe(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.audiences[key]
	if a == nil || a.subscriptions[connection] == nil {
		return nil
	}
	paused := *a.subscriptions[connection]
	paused.Live = false
	a.subscriptions[connection], a.sorted = &paused, nil
	return nil
}

// End implements store.SubscriptionStore.
func (s *Subscriptions) End(_ context.Context, tenant, stream string) ([]store.Subscription, error) {
	out := s.takeLive(store.Key{Tenant: tenant, ID: stream})
	for i := range out {
		// If the connection subscribes again at this moment, its index lacks the
		// stream. It will find that the stream has ended, and unsubscribe, which does
		// not need the index.
		connection := store.Key{Tenant: tenant, ID: out[i].Connection}
		c := s.connectionStripe(connection)
		c.mu.Lock()
		c.remove(connection, stream)
		c.mu.Unlock()
	}
	return out, nil
}

// takeLive takes the live subscriptions out of a stream's audience, and returns
// those that have not expired, oldest first.
func (s *Subscriptions) takeLive(stream store.Key) (out []store.Subscription) {
	now := s.now()
	p := s.streamStripe(stream)
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.audiences[stream]
	if a == nil {
		return nil
	}
	for connection, sub := range a.subscriptions {
		if !sub.Live {
			continue
		}
		delete(a.subscriptions, connection)
		if !expired(sub.Expires, now) {
			out = append(out, *sub)
		}
	}
	a.sorted = nil
	if len(a.subscriptions) == 0 {
		delete(p.audiences, stream)
	}
	slices.SortFunc(out, compareSubscriptions)
	return out
}

// Count returns how many streams a connection follows. It costs one look-up.
func (s *Subscriptions) Count(a Address) int {
	key := store.Key{Tenant: a.Tenant, ID: a.Connection}
	c := s.connectionStripe(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams[key])
}

// Drop implements store.SubscriptionStore.
func (s *Subscriptions) Drop(_ context.Context, tenant, connection string) (out []store.Subscription, err error) {
	key, now := store.Key{Tenant: tenant, ID: connection}, s.now()
	c := s.connectionStripe(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	for stream := range c.streams[key] {
		if sub := s.leave(store.Key{Tenant: tenant, ID: stream}, connection); sub != nil && !expired(sub.Expires, now) {
			out = append(out, *sub)
		}
	}
	delete(c.streams, key)
	slices.SortFunc(out, compareSubscriptions)
	return out, nil
}
