package engine

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/store"
)

// Submission is what Submit came to: an answer, an attempt to run, an answer
// and then an attempt, or a run to join.
type Submission struct {
	// Answer is to be sent before Attempt or Then runs.
	Answer *Answer
	// Attempt is to be run by the caller. Without Answer it is inline, and
	// Attempt.Run brings the answer.
	Attempt *Attempt
	// Then, if not nil, is to be called when Answer was sent: it has the call
	// run, or publishes its end.
	Then func()
	// Joined comes alone: the same id runs inline. It brings that run's answer;
	// if it is closed without one, the request is to be submitted again.
	Joined <-chan Answer
}

func answered(a Answer) Submission { return Submission{Answer: &a} }

// Submit accepts a request. ctx bounds the write that stores it.
func (e *Engine) Submit(ctx context.Context, r *Request) Submission {
	now := time.Now()
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = e.DefaultTimeout
	}
	deadline := now.Add(r.Delay + timeout)
	if r.Placement == Inline {
		return e.submitInline(ctx, r, now, deadline)
	}
	return e.submitStored(ctx, r, now, deadline)
}

// submitInline begins a call that is not stored, or joins the one that runs.
func (e *Engine) submitInline(ctx context.Context, r *Request, now, deadline time.Time) Submission {
	if !e.inlineCalls.Reserve(r.Share, 1) {
		return answered(refused(core.CodeOverloaded, "too many calls are running", false))
	}
	a := e.newAttempt(r.Action, r.Key, r.In, r.info(now, deadline), r.attemptTimeout())
	a.request = r
	for {
		found := e.calls.addInline(a)
		switch {
		case found.added:
			return e.checkStored(ctx, a, now, deadline)
		case found.refused:
			a.releaseUnrun()
			return answered(stopping())
		case found.other == nil:
			// The store knows whether it is the same call.
			a.releaseUnrun()
			return e.submitStored(ctx, r, now, deadline)
		}
		if s, ok := found.other.join(r); ok {
			a.releaseUnrun()
			return s
		}
		runtime.Gosched() // that run has ended, or was stored, and leaves calls
	}
}

// checkStored returns an inline attempt, unless its call was stored before. From
// now on a request with the same id joins the attempt, so none can come into the
// store unseen after this look.
func (e *Engine) checkStored(ctx context.Context, a *Attempt, now, deadline time.Time) Submission {
	stored, err := e.isStored(ctx, a.key)
	if stored || err != nil {
		return e.moveToStore(ctx, a, err, now, deadline)
	}
	if e.pendingCancels.take(callOwner{a.key, a.request.Subject}, now) {
		if a.request.promotable() {
			// The store remembers the cancel, too, and ends the call there.
			return e.moveToStore(ctx, a, nil, now, deadline)
		}
		a.cancel(core.ErrCancelled)
	}
	return Submission{Attempt: a}
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

// moveToStore gives up an inline attempt before it has run: its call was stored,
// or the store could not be asked.
func (e *Engine) moveToStore(ctx context.Context, a *Attempt, err error, now, deadline time.Time) Submission {
	if err != nil {
		answer := refusal(err)
		a.abort(&answer)
		return answered(answer)
	}
	a.abort(nil)
	return e.submitStored(ctx, a.request, now, deadline)
}

// submitStored stores a call. If a worker is free the call is stored claimed,
// and the caller runs it.
func (e *Engine) submitStored(ctx context.Context, r *Request, now, deadline time.Time) Submission {
	if r.CancelAfter != nil && e.watcher == nil {
		return answered(refused(core.CodeUnsupported, "this server does not support cancelAfterMs", true))
	}
	for {
		other, refused := e.calls.beginStoreOp(r.Key)
		if refused {
			return answered(stopping())
		}
		if other == nil {
			break
		}
		if s, ok := other.join(r); ok {
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
		e.calls.endStoreOp(r.Key, nil)
		if n.Claim != nil && errors.Is(err, store.ErrUnavailable) {
			e.reconcileLater(store.Hint{Key: r.Key})
		}
		return answered(refusal(err))
	}
	if !got.Fresh {
		e.calls.endStoreOp(r.Key, nil)
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
		met, _ := e.calls.endStoreOp(r.Key, nil)
		switch {
		case state.Status.Ended():
			e.Notifier.Publish(e.ctx, &state, store.CancelledEnd().Event(state.LastSeq))
		case met.ended:
			_ = e.publishEnd(e.ctx, r.Key)
		default:
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
		e.watch(ctx, store.Key{Tenant: r.Tenant, ID: id}, false)
	}
}
