package memory

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// stripes is the number of parts, each with its own lock, that connections are
// split into.
const stripes = 64

var seed = maphash.MakeSeed()

func stripe(k store.Key) int { return int(maphash.Comparable(seed, k) % stripes) }

// expired reports whether an expiry time has been reached. Zero never expires.
func expired(expires, now time.Time) bool { return !expires.IsZero() && !now.Before(expires) }

type connectionStripe struct {
	mu sync.RWMutex
	m  map[store.Key]*store.Connection
}

// PutConnection implements store.ConnectionStore.
func (s *Store) PutConnection(ctx context.Context, c store.Connection) error {
	key := store.Key{Tenant: c.Tenant, ID: c.ID}
	if err := ctx.Err(); err != nil {
		return err
	}
	p := &s.connections[stripe(key)]
	p.mu.Lock()
	if p.m == nil {
		p.m = map[store.Key]*store.Connection{}
	}
	p.m[key] = &c
	p.mu.Unlock()
	return nil
}

// UpdateConnection implements store.ConnectionStore.
func (s *Store) UpdateConnection(ctx context.Context, tenant, id string, status store.ConnectionStatus, expires time.Time) error {
	key := store.Key{Tenant: tenant, ID: id}
	if err := ctx.Err(); err != nil {
		return err
	}
	p := &s.connections[stripe(key)]
	p.mu.Lock()
	c := p.m[key]
	if c == nil || expired(c.Expires, s.opt.Now()) {
		p.mu.Unlock()
		return store.ErrNotFound
	}
	c.Status, c.Expires = status, expires
	p.mu.Unlock()
	return nil
}

// Connection implements store.ConnectionStore.
func (s *Store) Connection(ctx context.Context, tenant, id string) (store.Connection, error) {
	key := store.Key{Tenant: tenant, ID: id}
	if err := ctx.Err(); err != nil {
		return store.Connection{}, err
	}
	p := &s.connections[stripe(key)]
	p.mu.RLock()
	defer p.mu.RUnlock()
	c := p.m[key]
	if c == nil || expired(c.Expires, s.opt.Now()) {
		return store.Connection{}, store.ErrNotFound
	}
	return *c, nil
}

// DeleteConnection implements store.ConnectionStore.
func (s *Store) DeleteConnection(ctx context.Context, tenant, id string) error {
	key := store.Key{Tenant: tenant, ID: id}
	if err := ctx.Err(); err != nil {
		return err
	}
	p := &s.connections[stripe(key)]
	p.mu.Lock()
	delete(p.m, key)
	p.mu.Unlock()
	return nil
}

// Connections implements store.ConnectionStore. It reads all connections of the
// process, and is meant for operators.
func (s *Store) Connections(ctx context.Context, q store.ConnectionQuery, cursor string) ([]store.Connection, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	filter := []string{"connections", q.Subject, string(q.Status)}
	var at store.Position
	if cursor != "" {
		var err error
		if at, err = store.ParseCursor(cursor, filter...); err != nil {
			return nil, "", err
		}
	}
	found := s.matching(&q, at)
	slices.SortFunc(found, func(a, b store.Connection) int {
		return compare(store.TruncateMillis(a.Connected), a.ID, store.TruncateMillis(b.Connected), b.ID)
	})
	next := ""
	if limit := store.PageSize(q.Limit, 50, 100); len(found) > limit {
		found = found[:limit]
		last := &found[limit-1]
		next = store.Cursor(store.Position{Time: last.Connected, ID: last.ID}, filter...)
	}
	return found, next, nil
}

// matching returns the connections after a position. The zero position is
// before all.
func (s *Store) matching(q *store.ConnectionQuery, at store.Position) (out []store.Connection) {
	now := s.opt.Now()
	for i := range s.connections {
		p := &s.connections[i]
		p.mu.RLock()
		for _, c := range p.m {
			if c.Tenant == q.Tenant && (q.Subject == "" || c.Subject == q.Subject) && (q.Status == "" || c.Status == q.Status) &&
				!expired(c.Expires, now) && (at.ID == "" || compare(store.TruncateMillis(c.Connected), c.ID, at.Time, at.ID) > 0) {
				out = append(out, *c)
			}
		}
		p.mu.RUnlock()
	}
	return out
}

func (s *Store) expireConnections(now time.Time) {
	for i := range s.connections {
		p := &s.connections[i]
		p.mu.Lock()
		for key, c := range p.m {
			if expired(c.Expires, now) {
				delete(p.m, key)
			}
		}
		p.mu.Unlock()
	}
}
