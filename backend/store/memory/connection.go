package memory

import (
	"context"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// expired reports whether an expiry time has been reached. Zero never expires.
func expired(expires, now time.Time) bool { return !expires.IsZero() && !now.Before(expires) }

// PutConnection implements store.ConnectionStore.
func (s *Store) PutConnection(ctx context.Context, c store.Connection) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections[store.Key{Tenant: c.Tenant, ID: c.ID}] = c
	return nil
}

// UpdateConnection implements store.ConnectionStore.
func (s *Store) UpdateConnection(ctx context.Context, tenant, id string, status store.ConnectionStatus, expires time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := store.Key{Tenant: tenant, ID: id}
	c, ok := s.connections[key]
	if !ok || expired(c.Expires, s.opt.Now()) {
		return store.ErrNotFound
	}
	c.Status, c.Expires = status, expires
	s.connections[key] = c
	return nil
}

// Connection implements store.ConnectionStore.
func (s *Store) Connection(ctx context.Context, tenant, id string) (store.Connection, error) {
	if err := ctx.Err(); err != nil {
		return store.Connection{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.connections[store.Key{Tenant: tenant, ID: id}]
	if !ok || expired(c.Expires, s.opt.Now()) {
		return store.Connection{}, store.ErrNotFound
	}
	return c, nil
}

// DeleteConnection implements store.ConnectionStore.
func (s *Store) DeleteConnection(ctx context.Context, tenant, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connections, store.Key{Tenant: tenant, ID: id})
	return nil
}

// Connections implements store.ConnectionStore. It reads all connections of the
// process, and is meant for operators.
func (s *Store) Connections(ctx context.Context, q store.ConnectionQuery, cursor string) ([]store.Connection, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	position := func(c *store.Connection) store.Position {
		return store.Position{Time: store.TruncateMillis(c.Connected), ID: c.ID}
	}
	return page(s.matching(&q), position, comparePositions, q.Limit, cursor, "connections", q.Subject, string(q.Status))
}

func (s *Store) matching(q *store.ConnectionQuery) (out []store.Connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	for _, c := range s.connections {
		if c.Tenant == q.Tenant && (q.Subject == "" || c.Subject == q.Subject) && (q.Status == "" || c.Status == q.Status) &&
			!expired(c.Expires, now) {
			out = append(out, c)
		}
	}
	return out
}
