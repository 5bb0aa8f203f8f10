package engine

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/store"
)

// Submission is what Submit came to. Without Answer, the request is answered by the
// attempt, or by the run of the same id that it has joined.
type Submission struct {
	// Answer is to be sent before Attempt or Then runs.
	Answer *Answer
	// Attempt is to be run by the caller; nil: there is none.
	Attempt *Attempt
	// Then, if not nil, is to be called when Answer was sent: it has the call run,
	// or publishes its end.
	Then func()
}

func answered(a Answer) Submission { return Submission{Answer: &a} }

// Submit accepts a request. ctx bounds the write that stores it. Reply takes the
// answer of an inline call, once, from any goroutine, before anything else is sent
// about the call; it is not called if Submission.Answer is set.
func (e *Engine) Submit(ctx context.Context, r *Request, reply func(Answer)) Submission {
	now := time.Now()
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = e.DefaultTimeout
	}
	deadline := now.Add(r.Delay + timeout)
	if r.Placement == Inline {
		return e.submitInline(ctx, caller{r, reply}, now, deadline)
	}
	return e.submitStored(ctx, caller{r, reply}, now, deadline)
}

// submitInline begins a call that is not stored, or joins the one that runs.
func (e *Engine) submitInline(ctx context.Context, c caller, now, deadline time.Time) Submission {
	r := c.request
	if !e.inlineCalls.Reserve(r.Share, 1) {
		return answered(refused(core.CodeOverloaded, "too many calls are running", false))
	}
	a := e.newAttempt(r.Action, r.Key, r.In, r.info(now, deadline), r.attemptTimeout())
	a.request, a.callers, a.unchecked = r, []caller{c}, true
	for {
		found := e.calls.addInline(a)
		switch {
		case found.added:
			return e.checkStored(ctx, a, c, now, deadline)
		case found.refused:
			a.releaseUnrun()
			return answered(stopping())
		case found.other == nil:
			// The store knows whether it is the same call.
			a.releaseUnrun()
			return e.submitStored(ctx, c, now, deadline)
		}
		if s, ok := found.other.join(r, c.reply); ok {
			a.releaseUnrun()
			return s
		}
		runtime.Gosched() // that run has ended, or was stored, and leaves calls
	}
}

// checkStored returns an inline attempt, unless its call was stored before. A
// request with the same id waits meanwhile, and then joins the attempt, so none can
// come into the store unseen after this look.
func (e *Engine) checkStored(ctx context.Context, a *Attempt, c caller, now, deadline time.Time) Submission {
	found, err := e.isStored(ctx, a.key)
	if !found && err == nil && e.pendingCancels.take(callOwner{a.key, a.request.Subject}, now) {
		a.cancel(core.ErrCancelled)
		found = a.request.promotable() // as good as: the store remembers the cancel, too, and ends the call
	}
	if !found && err == nil {
		a.markChecked()
		return Submission{Attempt: a}
	}
	switch {
	case !a.abort():
		return Submission{}
	case err != nil:
		return answered(refusal(err))
	}
	return e.submitStored(ctx, c, now, deadline)
}

// isStored reports whether a call was stored: then it never runs inline.
func (e *Engine) isStored(ctx context.Context, k store.Key) (bool, error) {
	if s, ok := e.Store.(store.ExistenceFilter); ok && !s.MayExist(k) {
		return false, nil
	}
	_, _, err := e.Store.Read(ctx, k, 0, 0)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// submitStored stores a call. If a worker is free the call is stored claimed,
// and the caller runs it.
func (e *Engine) submitStored(ctx context.Context, c caller, now, deadline time.Time) Submission {
	r := c.request
	if r.CancelAfter != nil && e.watcher == nil {
		return answered(refused(core.CodeUnsupported, "this server does not support cancelAfterMs", true))
	}
	for {
		other, err := e.calls.beginStoreOp(r.Key)
		if err != nil {
			return answered(refusal(err))
		}
		if other == nil {
			break
		}
		if s, ok := other.join(r, c.reply); ok {
			return s
		}
		runtime.Gosched()
	}
	n := r.forStore(now, deadline)
	var release func(<-chan struct{})
	if r.Delay <= 0 && !r.KnownOnly {
		if free, ok := e.Dispatcher.Reserve(); ok {
			release, n.Claim = free, e.claimant(false)
		}
	}
	got, err := e.Store.Accept(ctx, n)
	if err == nil && got.Fresh && got.State.Status == store.Running {
		return e.acceptedRunning(ctx, r, &got.State, release)
	}
	if release != nil {
		release(nil)
	}
	if err != nil {
		if n.Claim != nil && errors.Is(err, store.ErrUnavailable) {
			e.reconcileLater(store.Hint{Key: r.Key})
		}
		e.endStoreOp(r.Key)
		return answered(refusal(err))
	}
	if !got.Fresh {
		e.endStoreOp(r.Key)
		return answered(Answer{Kind: Known, State: got.State})
	}
	return e.acceptedQueued(ctx, r, &got.State)
}

// acceptedRunning makes the attempt of a call that was stored claimed.
func (e *Engine) acceptedRunning(ctx context.Context, r *Request, s *store.State, release func(<-chan struct{})) Submission {
	e.subscribe(ctx, r, s.ID)
	a := e.newAttempt(r.Action, r.Key, r.In, r.info(s.Accepted, s.Deadline), r.Action.Timeout)
	a.release = release
	a.claimed(s)
	e.addAttempt(a, s)
	return Submission{Answer: &Answer{Kind: Accepted, State: *s}, Attempt: a}
}

// acceptedQueued is for a call that was stored queued, or ended because a cancel
// of its id was remembered.
func (e *Engine) acceptedQueued(ctx context.Context, r *Request, s *store.State) Submission {
	e.subscribe(ctx, r, s.ID)
	out := answered(Answer{Kind: Accepted, State: *s})
	state := *s
	out.Then = func() {
		ended := e.endStoreOp(r.Key)
		switch {
		case state.Status.Ended():
			e.publishCancelled(e.ctx, &state)
		case !ended:
			e.Dispatcher.Enqueue(state.Hint())
		}
	}
	return out
}

// addAttempt adds the attempt of a call that was just claimed, with the given
// state. It ends the attempt's context if the call was cancelled meanwhile, or the
// engine stops. If no connection follows the call, it has it cancelled in time.
func (e *Engine) addAttempt(a *Attempt, s *store.State) {
	met, shuttingDown := e.calls.endStoreOp(a.key, a)
	if !s.CancelAt().IsZero() {
		e.Dispatcher.Enqueue(s.Hint())
	}
	switch {
	case met.cancelled:
		a.cancel(core.ErrCancelled)
	case shuttingDown:
		a.cancel(core.ErrShutdown)
	}
}

// subscribe makes the caller's connection follow its call.
func (e *Engine) subscribe(ctx context.Context, r *Request, id string) {
	if r.Connection == "" {
		return
	}
	change, err := e.Notifier.Subscribe(ctx, store.Subscription{
		Tenant: r.Tenant, Stream: id, Connection: r.Connection, Subject: r.Subject, Live: true, Watched: r.CancelAfter != nil,
	})
	if err != nil {
		e.Logger.Warn("a caller could not be subscribed to its call", "id", id, "error", err)
	}
	if change.Last { // the connection has ended
		e.SubscribersChanged(change)
	}
}
