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
) (state store.State, err error) {
	err = s.write(ctx, &op{name: name, run: func(w *writer) (err error) {
		state, err = w.transition(key, next)
		return err
	}})
	if err != nil && !isRefusal(err) {
		return store.State{}, err
	}
	return state, err
}

func (w *writer) transition(
	k store.Key, next func(store.State, time.Time) (store.State, *store.End, error),
) (store.State, error) {
	e, err := w.findRequest(k)
	switch {
	case err != nil:
		return store.State{}, err
	case e == nil:
		return store.State{}, store.ErrNotFound
	}
	to, end, err := next(e.state, w.store.opt.Now())
	if err != nil {
		return e.state, err
	}
	if end == nil && to.Watch == e.state.Watch && to.CancelRequested == e.state.CancelRequested {
		return to, nil
	}
	return to, w.change(change{from: e, to: to, lease: e.lease, input: e.input, end: end})
}
