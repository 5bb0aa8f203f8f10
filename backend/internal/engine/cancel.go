package engine

import (
	"context"
	"errors"
	"sync"
	"time"

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
		if mine && a.why == nil {
			a.why = core.ErrCancelled
		}
		a.mu.Unlock()
		if mine {
			a.end(core.ErrCancelled)
			return store.State{}, nil
		}
	}
	s, err := e.Store.Cancel(ctx, k, subject)
	switch {
	case errors.Is(err, store.ErrEnded):
		return s, err
	case errors.Is(err, store.ErrNotFound):
		e.missed.remember(owned{k, subject}, time.Now())
		return store.State{}, err
	case err != nil:
		return store.State{}, err
	case s.Status.Ended():
		e.mu.Lock()
		e.schedule.remove(k)
		if in := e.entering[k]; in != nil {
			in.ended = true
		}
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
			a.end(core.ErrCancelled)
		}
	}
	return s, nil
}

// maxMissed bounds the cancels that are remembered for calls to come.
const maxMissed = 10_000

// owned is a call of a subject.
type owned struct {
	store.Key
	subject string
}

// missed remembers cancels of ids that were not there, for those that will
// come and run inline: the store, which remembers them too, is not asked then.
// It is safe for concurrent use.
type missed struct {
	mu    sync.Mutex
	until map[owned]time.Time
}

func (m *missed) remember(o owned, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.until) >= maxMissed {
		for k, until := range m.until {
			if !until.After(now) {
				delete(m.until, k)
			}
		}
	}
	if m.until == nil {
		m.until = map[owned]time.Time{}
	}
	if len(m.until) < maxMissed {
		m.until[o] = now.Add(store.CancelMemory)
	}
}

// take tells whether a cancel waits for the call, and forgets it.
func (m *missed) take(o owned, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, ok := m.until[o]
	delete(m.until, o)
	return ok && until.After(now)
}
