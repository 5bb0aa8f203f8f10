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
// context ends. A cancel of an id that does not exist yet is remembered.
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
		owner := callOwner{k, subject}
		e.pendingCancels.add(owner, time.Now())
		if e.cancelInline(k, subject) { // it began meanwhile, before the cancel was added
			e.pendingCancels.take(owner, time.Now())
			return store.State{}, nil
		}
		return store.State{}, err
	case err != nil:
		return store.State{}, err
	}
	e.onStoredCancel(ctx, &s)
	return s, nil
}

// onStoredCancel publishes the end of a request that a cancel has ended, or ends
// the context of its attempt.
func (e *Engine) onStoredCancel(ctx context.Context, s *store.State) {
	a, inFlight := e.calls.noteCancel(s)
	switch {
	case s.Status.Ended():
		e.Dispatcher.Forget(s.Key)
		if !inFlight {
			e.publishCancelled(ctx, s)
		}
	case a != nil:
		a.cancel(core.ErrCancelled)
	}
}

// publishCancelled publishes the end of a request that a cancel has ended.
func (e *Engine) publishCancelled(ctx context.Context, s *store.State) {
	e.Notifier.Publish(ctx, s, store.CancelledEnd().Event(s.LastSeq))
}

// cancelInline ends the context of a subject's call that runs inline, and reports
// whether there is one.
func (e *Engine) cancelInline(k store.Key, subject string) bool {
	a := e.calls.findInline(k)
	return a != nil && a.cancelInline(subject)
}

// maxPendingCancels bounds the cancels that are remembered, shared by the
// tenants.
const maxPendingCancels = 10_000

// callOwner is a call of a subject.
type callOwner struct {
	store.Key
	subject string
}

// pendingCancels remembers cancels of ids that did not exist, for inline calls. (The
// store remembers them, too, but only Accept asks it.) It is safe for concurrent
// use.
type pendingCancels struct {
	// any spares take the lock while nothing is remembered.
	any   atomic.Bool
	mu    sync.Mutex
	until map[callOwner]time.Time
	// counts are the tenants' shares of queue.
	counts map[string]int
	// queue holds what was added, the oldest first; some of it was taken since.
	queue []callOwner
}

func (p *pendingCancels) add(o callOwner, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until == nil {
		p.until, p.counts = map[callOwner]time.Time{}, map[string]int{}
	}
	p.forget(now)
	if _, again := p.until[o]; again || !quota.WithinFairShare(int64(p.counts[o.Tenant]), int64(len(p.queue)), maxPendingCancels) {
		return
	}
	p.until[o] = now.Add(store.CancelRetention)
	p.counts[o.Tenant]++
	p.queue = append(p.queue, o)
	p.any.Store(true)
}

// forget removes what is too old. All are remembered for the same time, so the
// oldest are first in the queue. The lock is held.
func (p *pendingCancels) forget(now time.Time) {
	for len(p.queue) > 0 {
		o := p.queue[0]
		if until, ok := p.until[o]; ok && until.After(now) {
			return
		}
		p.queue = p.queue[1:]
		delete(p.until, o)
		if p.counts[o.Tenant]--; p.counts[o.Tenant] == 0 {
			delete(p.counts, o.Tenant)
		}
	}
	p.queue = nil
}

// take reports whether a cancel of the call is remembered, and forgets it.
func (p *pendingCancels) take(o callOwner, now time.Time) bool {
	if !p.any.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.until[o]
	delete(p.until, o)
	p.any.Store(len(p.until) > 0)
	return ok && until.After(now)
}
