package memory

import (
	"context"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// Watch implements store.Watcher.
func (s *Store) Watch(ctx context.Context, key store.Key, subscribed bool) (store.State, error) {
	return withRecord(ctx, s, key, store.ErrNotFound, func(r *record, now time.Time) (store.State, error) {
		next, end, err := r.state.Watched(subscribed, now)
		return s.step(r, next, end, err)
	})
}

// CancelUnsubscribed implements store.Watcher.
func (s *Store) CancelUnsubscribed(ctx context.Context, key store.Key, watch uint64) (store.State, error) {
	return withRecord(ctx, s, key, store.ErrNotFound, func(r *record, now time.Time) (store.State, error) {
		next, end, err := r.state.CancelUnsubscribed(watch, now)
		return s.step(r, next, end, err)
	})
}

// step stores the result of a transition without a report.
func (s *Store) step(r *record, next store.State, end *store.End, err error) (store.State, error) {
	if err != nil {
		return r.state, err
	}
	r.state = next
	if end != nil {
		r.end = end
	}
	s.index(r)
	return next, nil
}
