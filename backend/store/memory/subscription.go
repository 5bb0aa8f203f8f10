package memory

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// Subscriptions are held twice: by stream, for telling, and by connection.
// Whoever needs both locks takes the connection's first.

type streamStripe struct {
	mu sync.RWMutex
	m  map[store.Key]*audience // by tenant and stream
}

// audience is who follows one stream.
type audience struct {
	by map[string]*store.Subscription // by connection
	// sorted is what Subscribers returns, oldest first; nil: made anew when
	// asked for. It is replaced, never changed.
	sorted []store.Subscription
	// until is when the first of sorted expires; zero: never.
	until time.Time
}

type followerStripe struct {
	mu sync.Mutex
	m  map[store.Key]map[string]struct{} // by tenant and connection: streams
}

// Subscribe plays store.SubscriptionStore.
func (s *Store) Subscribe(ctx context.Context, sub store.Subscription) (added bool, err error) {
	stream, connection := store.Key{Tenant: sub.Tenant, ID: sub.Stream}, store.Key{Tenant: sub.Tenant, ID: sub.Connection}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	now := s.opt.Now()
	f := &s.followers[stripe(connection)]
	f.mu.Lock()
	if f.m == nil {
		f.m = map[store.Key]map[string]struct{}{}
	}
	if f.m[connection] == nil {
		f.m[connection] = map[string]struct{}{}
	}
	f.m[connection][sub.Stream] = struct{}{}
	p := &s.streams[stripe(stream)]
	p.mu.Lock()
	if p.m == nil {
		p.m = map[store.Key]*audience{}
	}
	a := p.m[stream]
	if a == nil {
		a = &audience{by: map[string]*store.Subscription{}}
		p.m[stream] = a
	}
	before := a.by[sub.Connection]
	a.by[sub.Connection], a.sorted = &sub, nil
	p.mu.Unlock()
	f.mu.Unlock()
	return before == nil || over(before.Expires, now), nil
}

// Unsubscribe plays store.SubscriptionStore.
func (s *Store) Unsubscribe(ctx context.Context, tenant, stream, connection string) (removed bool, err error) {
	key := store.Key{Tenant: tenant, ID: stream}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	by := store.Key{Tenant: tenant, ID: connection}
	f := &s.followers[stripe(by)]
	f.mu.Lock()
	if streams := f.m[by]; streams != nil {
		delete(streams, stream)
		if len(streams) == 0 {
			delete(f.m, by)
		}
	}
	sub := s.leave(key, connection)
	f.mu.Unlock()
	return sub != nil && !over(sub.Expires, s.opt.Now()), nil
}

// leave takes a connection out of a stream's audience.
func (s *Store) leave(stream store.Key, connection string) *store.Subscription {
	p := &s.streams[stripe(stream)]
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.m[stream]
	if a == nil {
		return nil
	}
	sub := a.by[connection]
	if sub == nil {
		return nil
	}
	delete(a.by, connection)
	a.sorted = nil
	if len(a.by) == 0 {
		delete(p.m, stream)
	}
	return sub
}

// Subscribers plays store.SubscriptionStore. What it returns is shared: it is
// not to be changed. While nobody comes or goes it costs one look-up.
func (s *Store) Subscribers(ctx context.Context, tenant, stream string) ([]store.Subscription, error) {
	key := store.Key{Tenant: tenant, ID: stream}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := &s.streams[stripe(key)]
	p.mu.RLock()
	a := p.m[key]
	if a == nil {
		p.mu.RUnlock()
		return nil, nil
	}
	sorted, until := a.sorted, a.until
	p.mu.RUnlock()
	if sorted == nil || !until.IsZero() && over(until, s.opt.Now()) {
		sorted = s.sorted(p, key)
	}
	return sorted, nil
}

func (s *Store) sorted(p *streamStripe, key store.Key) []store.Subscription {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.m[key]
	if a == nil {
		return nil
	}
	now := s.opt.Now()
	if a.sorted != nil && !over(a.until, now) {
		return a.sorted
	}
	sorted, until := make([]store.Subscription, 0, len(a.by)), time.Time{}
	for _, sub := range a.by {
		if over(sub.Expires, now) {
			continue
		}
		sorted = append(sorted, *sub)
		if !sub.Expires.IsZero() && (until.IsZero() || sub.Expires.Before(until)) {
			until = sub.Expires
		}
	}
	slices.SortFunc(sorted, func(x, y store.Subscription) int { return compare(x.Since, x.Connection, y.Since, y.Connection) })
	a.sorted, a.until = sorted, until
	return sorted
}

// Subscriptions plays store.SubscriptionStore.
func (s *Store) Subscriptions(ctx context.Context, tenant, connection string) ([]store.Subscription, error) {
	key := store.Key{Tenant: tenant, ID: connection}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f := &s.followers[stripe(key)]
	f.mu.Lock()
	out := s.followed(f, key)
	f.mu.Unlock()
	return out, nil
}

// followed returns what a connection follows, oldest first. The follower's
// stripe is locked.
func (s *Store) followed(f *followerStripe, connection store.Key) (out []store.Subscription) {
	now := s.opt.Now()
	for stream := range f.m[connection] {
		key := store.Key{Tenant: connection.Tenant, ID: stream}
		p := &s.streams[stripe(key)]
		p.mu.RLock()
		if a := p.m[key]; a != nil {
			if sub := a.by[connection.ID]; sub != nil && !over(sub.Expires, now) {
				out = append(out, *sub)
			}
		}
		p.mu.RUnlock()
	}
	slices.SortFunc(out, func(x, y store.Subscription) int {
		return cmp.Or(compare(x.Since, x.Connection, y.Since, y.Connection), cmp.Compare(x.Stream, y.Stream))
	})
	return out
}

// Following tells how many streams a connection follows. It costs one look-up.
func (s *Store) Following(tenant, connection string) int {
	key := store.Key{Tenant: tenant, ID: connection}
	f := &s.followers[stripe(key)]
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.m[key])
}

// SubscriptionsOf plays store.SubscriptionStore. It looks at all subscriptions
// of the process: it is for operators.
func (s *Store) SubscriptionsOf(ctx context.Context, tenant, subject string) ([]store.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := s.opt.Now()
	var out []store.Subscription
	for i := range s.streams {
		p := &s.streams[i]
		p.mu.RLock()
		for stream, a := range p.m {
			if stream.Tenant != tenant {
				continue
			}
			for _, sub := range a.by {
				if sub.Subject == subject && !over(sub.Expires, now) {
					out = append(out, *sub)
				}
			}
		}
		p.mu.RUnlock()
	}
	slices.SortFunc(out, func(x, y store.Subscription) int {
		return cmp.Or(compare(x.Since, x.Connection, y.Since, y.Connection), cmp.Compare(x.Stream, y.Stream))
	})
	return out, nil
}

// Drop plays store.SubscriptionStore.
func (s *Store) Drop(ctx context.Context, tenant, connection string) ([]store.Subscription, error) {
	key := store.Key{Tenant: tenant, ID: connection}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f := &s.followers[stripe(key)]
	f.mu.Lock()
	out := s.followed(f, key)
	for stream := range f.m[key] {
		s.leave(store.Key{Tenant: tenant, ID: stream}, connection)
	}
	delete(f.m, key)
	f.mu.Unlock()
	return out, nil
}

// expireSubscriptions forgets what has expired.
func (s *Store) expireSubscriptions(now time.Time) {
	for i := range s.followers {
		f := &s.followers[i]
		f.mu.Lock()
		for connection, streams := range f.m {
			for stream := range streams {
				if s.leaveExpired(store.Key{Tenant: connection.Tenant, ID: stream}, connection.ID, now) {
					delete(streams, stream)
				}
			}
			if len(streams) == 0 {
				delete(f.m, connection)
			}
		}
		f.mu.Unlock()
	}
}

func (s *Store) leaveExpired(stream store.Key, connection string, now time.Time) bool {
	p := &s.streams[stripe(stream)]
	p.mu.RLock()
	a := p.m[stream]
	expired := a == nil || a.by[connection] == nil || over(a.by[connection].Expires, now)
	p.mu.RUnlock()
	if expired {
		s.leave(stream, connection)
	}
	return expired
}
