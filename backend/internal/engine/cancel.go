package engine

import (
	"context"
	"errors"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/store"
)

// Cancel stops a subject's call: a queued one ends at once, a running one's
// context ends. A cancel of an id that is not there yet is remembered.
//
// Errors: store.ErrEnded, with the state, if the call had ended before;
// store.ErrNotFound; store.ErrUnavailable.
func (e *Engine) Cancel(ctx context.Context, k store.Key, subject string) (store.State, error) {
	e.mu.Lock()
	a := e.inline[k]
	e.mu.Unlock()
	if a != nil {
		a.mu.Lock()
		for a.phase == promoting {
			a.moved.Wait()
		}
		mine := a.phase == inline && a.request.Subject == subject
		a.mu.Unlock()
		if mine {
			a.cancel(core.ErrCancelled)
			return store.State{}, nil
		}
	}
	s, err := e.Store.Cancel(ctx, k, subject)
	switch {
	case errors.Is(err, store.ErrEnded):
		return s, err
	case err != nil:
		return store.State{}, err
	case s.Status.Ended():
		e.mu.Lock()
		e.schedule.remove(k)
		e.mu.Unlock()
		e.abandon.forget(k)
		e.Teller.Events(ctx, &s, store.CancelledEnd().Event(s.LastSeq))
	default:
		e.mu.Lock()
		a := e.running[k]
		if in := e.entering[k]; in != nil {
			in.cancelled = true
		}
		e.mu.Unlock()
		if a != nil {
			a.cancel(core.ErrCancelled)
		}
	}
	return s, nil
}
