package embedded

import (
	"context"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// Watch implements store.Watcher.
func (s *Store) Watch(ctx context.Context, key store.Key, subscribed bool) (store.State, error) {
	return s.transition(ctx, "watch", key, func(t store.State, now time.Time) (store.State, *store.End, error) {
		return t.Watched(subscribed, now)
	})
}

// CancelUnsubscribed implements store.Watcher.
func (s *Store) CancelUnsubscribed(ctx context.Context, key store.Key, watch uint64) (store.State, error) {
	return s.transition(ctx, "cancel", key, func(t store.State, now time.Time) (store.State, *store.End, error) {
		return t.CancelUnsubscribed(watch, now)
	})
}

// transition applies a step to the state of a request.
func (s *Store) transition(
	ctx context.Context, name string, key store.Key, next func(store.State, time.Time) (store.State, *store.End, error),
) (store.State, error) {
	return writeResult(ctx, s, &op{name: name}, func(w *writer) (store.State, error) {
		e, err := w.findOrFail(key, store.ErrNotFound)
		if err != nil {
			return store.State{}, err
		}
		to, end, err := next(e.state, w.store.opt.Now())
		if err != nil {
			return e.state, err
		}
		return to, w.stepFrom(e, to, end)
	})
}

// stepFrom writes the result of a transition without a report, unless it has
// changed nothing.
func (w *writer) stepFrom(e *entry, to store.State, end *store.End) error {
	if end == nil && to.Watch == e.state.Watch && to.CancelRequested == e.state.CancelRequested {
		return nil
	}
	return w.change(change{from: e, to: to, lease: e.lease, input: e.input, end: end})
}
