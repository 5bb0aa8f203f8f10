package memory

import (
	"context"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// Watch implements store.Watcher.
func (s *Store) Watch(ctx context.Context, key store.Key, subscribed bool) (store.State, error) {
	return s.change(ctx, key, func(t store.State, now time.Time) (store.State, *store.End, error) {
		return t.Watched(subscribed, now)
	})
}

// CancelUnsubscribed implements store.Watcher.
func (s *Store) CancelUnsubscribed(ctx context.Context, key store.Key, watch uint64) (store.State, error) {
	return s.change(ctx, key, func(t store.State, now time.Time) (store.State, *store.End, error) {
		return t.CancelUnsubscribed(watch, now)
	})
}

// change applies a step to the state of a request.
func (s *Store) change(
	ctx context.Context, key store.Key, next func(store.State, time.Time) (store.State, *store.End, error),
) (store.State, error) {
	if err := ctx.Err(); err != nil {
		return store.State{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	r := s.findRecord(key, now)
	if r == nil {
		return store.State{}, store.ErrNotFound
	}
	state, end, err := next(r.state, now)
	if err != nil {
		return r.state, err
	}
	r.state = state
	if end != nil {
		r.end = end
	}
	s.index(r)
	return state, nil
}
