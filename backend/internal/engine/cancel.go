package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/store"
)

// Cancel stops a subject's call: a queued one ends at once, a running one's
// context ends. A cancel of an id that is not there yet is remembered.
//
// Errors: store.ErrEnded, with the state, if the call had ended before;
// store.ErrNotFound; store.ErrUnavailable.
func (e *Engine) Cancel(ctx context.Context, k store.Key, subject string) (store.State, error) {
	if e.cancelInline(k, subject) {
		return store.State{}, nil
	}
	s, err := e.Store.Cancel(ctx, k, subject)
	switch {
	case errors.Is(err, store.ErrEnded):
		return s, err
	case errors.Is(err, store.ErrNotFound):
		o := owned{k, subject}
		e.missed.remember(o, time.Now())
		if e.cancelInline(k, subject) { // it came meanwhile, and had looked too early
			e.missed.take(o, time.Now())
			return store.State{}, nil
		}
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

// cancelInline ends the context of a subject's call that runs inline, and tells
// whether there was one.
func (e *Engine) cancelInline(k store.Key, subject string) bool {
	e.mu.Lock()
	a := e.inline[k]
	e.mu.Unlock()
	if a == nil {
		return false
	}
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
	}
	return mine
}

// maxMissed bounds the cancels that are remembered for calls to come; no
// tenant gets all of them.
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
	// any spares the lock those who would find nothing.
	any   atomic.Bool
	mu    sync.Mutex
	until map[owned]time.Time
	own   map[string]int // of each tenant
	// queue holds what was remembered, the oldest first; some of it was taken
	// since.
	queue []owned
}

func (m *missed) remember(o owned, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.until == nil {
		m.until, m.own = map[owned]time.Time{}, map[string]int{}
	}
	m.forget(now)
	if _, again := m.until[o]; again || !quota.Fair(int64(m.own[o.Tenant]), int64(len(m.queue)), maxMissed) {
		return
	}
	m.until[o] = now.Add(store.CancelMemory)
	m.own[o.Tenant]++
	m.queue = append(m.queue, o)
	m.any.Store(true)
}

// forget drops what is too old. All are remembered for the same time; so the
// oldest go first, and each is looked at once. It is called with the lock held.
func (m *missed) forget(now time.Time) {
	for len(m.queue) > 0 {
		o := m.queue[0]
		if until, ok := m.until[o]; ok && until.After(now) {
			return
		}
		m.queue = m.queue[1:]
		delete(m.until, o)
		m.less(o.Tenant)
	}
	m.queue = nil
}

func (m *missed) less(tenant string) {
	if m.own[tenant]--; m.own[tenant] == 0 {
		delete(m.own, tenant)
	}
}

// take tells whether a cancel waits for the call, and forgets it.
func (m *missed) take(o owned, now time.Time) bool {
	if !m.any.Load() {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	until, ok := m.until[o]
	delete(m.until, o)
	m.any.Store(len(m.until) > 0)
	return ok && until.After(now)
}
