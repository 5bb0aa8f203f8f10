package engine

import (
	"context"
	"errors"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/store"
)

// Ran is what Engine.Run came to.
type Ran struct {
	// Next is the hint for the next look at the request. Its Due is zero if the
	// request has ended.
	Next store.Hint
	// Handler is not nil if the handler ignores the end of its context: it is
	// closed when the handler returns.
	Handler <-chan struct{}
}

// Run claims the request that is due, runs one attempt, and returns when the
// outcome is written and published. For a request that has ended it publishes the
// end again, because the process that wrote the end may not have. Quarantine says
// that no other quarantined request runs in this process. If ctx ends, so does the
// handler's context, with the same cause.
//
// Errors: those of store.RequestQueue.Claim but ErrEnded; store.ErrClosed after
// Stop. After ErrNotDue, Next
// says when it is due. After ErrUnavailable the request may be claimed; see
// Options.Lease for when that ends.
func (e *Engine) Run(ctx context.Context, k store.Key, quarantine bool) (Ran, error) {
	if err := e.calls.beginClaim(k); err != nil {
		return Ran{}, err
	}
	w, err := e.Store.Claim(e.ctx, k, *e.claimant(quarantine))
	if err != nil {
		e.endStoreOp(k)
		return e.notClaimed(ctx, k, err)
	}
	s := &w.State
	if s.AttemptMark != nil {
		e.Notifier.Publish(e.ctx, s, s.AttemptMark.Event())
	}
	a, o := e.prepare(&w)
	if a == nil {
		next := e.finishWithoutRun(s.Key, s.Fence, o)
		e.endStoreOp(k)
		return Ran{Next: next}, nil
	}
	a.done = make(chan Ran, 1)
	a.claimed(s)
	e.addAttempt(a, s)
	go a.Run(ctx)
	return <-a.done, nil
}

func (e *Engine) notClaimed(ctx context.Context, k store.Key, err error) (Ran, error) {
	switch {
	case errors.Is(err, store.ErrEnded):
		return Ran{}, e.publishEnd(ctx, k)
	case errors.Is(err, store.ErrNotDue):
		s, _, readErr := e.Store.Read(ctx, k, 0, 0)
		if readErr == nil && !s.Status.Ended() {
			return Ran{Next: s.Hint()}, err
		}
	}
	return Ran{}, err
}

// prepare makes the attempt of a claimed request, or the outcome of one that is
// not to be run.
func (e *Engine) prepare(w *store.ClaimedRequest) (*Attempt, store.Outcome) {
	s := &w.State
	now := time.Now()
	action := e.Registry.Actions[s.Action]
	switch {
	case !s.Deadline.After(now):
		return nil, deadlinePassed()
	case s.CancelRequested:
		return nil, ended(store.CancelledEnd())
	case s.CrashCount >= store.QuarantineAfter+e.MaxQuarantineCrashes:
		e.Logger.Error("a call is a dead letter, because it crashed its workers", "id", s.ID, "action", s.Action, "tenant", s.Tenant, "crashes", s.CrashCount)
		return nil, ended(&store.End{
			Status: store.Failed, Code: core.CodePoisoned, Message: "workers died each time they ran this call", DeadLetter: true,
		})
	case action == nil:
		// Another version of the server may have it.
		e.Logger.Error("a stored call's action has no handler", "id", s.ID, "action", s.Action, "tenant", s.Tenant)
		return nil, store.Outcome{Due: now.Add(time.Minute), Code: core.CodeUnknownAction}
	}
	in, err := action.Decode(w.Input)
	if err != nil {
		e.Logger.Error("a stored call's payload no longer fits its action", "id", s.ID, "action", s.Action, "error", err)
		return nil, ended(failed(err))
	}
	a := e.newAttempt(action, s.Key, in, core.Info{
		ID: s.ID, Action: s.Action, Tenant: s.Tenant, Subject: s.Subject, Attempt: s.Attempt, Metadata: w.Metadata,
		Accepted: s.Accepted, Deadline: s.Deadline,
	}, action.Timeout)
	a.runner.call.Checkpoint = w.Checkpoint
	return a, store.Outcome{}
}

// endStoreOp ends a storeOp that no attempt came of. It reports whether it has
// published that a cancel ended the call.
func (e *Engine) endStoreOp(k store.Key) (ended bool) {
	met, _ := e.calls.endStoreOp(k, nil)
	if met.ended != nil {
		e.publishCancelled(e.ctx, met.ended)
	}
	return met.ended != nil
}

// publishEnd publishes the end of a call again.
func (e *Engine) publishEnd(ctx context.Context, k store.Key) error {
	s, _, err := e.Store.Read(ctx, k, 0, 0)
	if err != nil || s.LastSeq == 0 {
		return err
	}
	_, events, err := e.Store.Read(ctx, k, s.LastSeq-1, 1)
	if err == nil {
		e.Notifier.Publish(ctx, &s, events...)
	}
	return err
}

func deadlinePassed() store.Outcome {
	return ended(&store.End{Status: store.Failed, Code: core.CodeDeadlineExceeded, Message: "the call's time is over"})
}

// finishWithoutRun writes and publishes the outcome of a request that no handler
// runs. It returns the hint for the next look at it, if it has not ended.
func (e *Engine) finishWithoutRun(k store.Key, fence uint64, o store.Outcome) (next store.Hint) {
	var s store.State
	err := e.persist(func(ctx context.Context) (err error) {
		s, err = e.Store.Finish(ctx, store.Fence{Key: k, Fence: fence}, o)
		return err
	})
	switch {
	case err != nil:
		if !errors.Is(err, store.ErrFenced) {
			e.Logger.Error("an outcome could not be written", "id", k.ID, "error", err)
		}
	case !s.Status.Ended():
		return s.Hint()
	default:
		e.Notifier.Publish(e.ctx, &s, endOf(&o).Event(s.LastSeq))
	}
	return store.Hint{}
}

// HandleLate ends a request whose deadline has passed while it waited, or cancels
// one that no connection has followed for its CancelAfter. Otherwise it enqueues
// the request again. What cannot be written now is found again by Sweep.
func (e *Engine) HandleLate(ctx context.Context, h store.Hint) {
	s, _, err := e.Store.Read(ctx, h.Key, 0, 0)
	now := time.Now()
	switch cancelAt := s.CancelAt(); {
	case err != nil || s.Status.Ended():
	case !s.Deadline.After(now):
		e.finishExpired(&s)
	case !cancelAt.IsZero() && !cancelAt.After(now):
		e.cancelUnsubscribed(ctx, &s)
	default:
		e.Dispatcher.Enqueue(s.Hint())
	}
}

// finishExpired ends a request whose deadline has passed, if no worker holds it.
func (e *Engine) finishExpired(s *store.State) {
	fence := s.Fence
	if s.Status == store.Running {
		w, err := e.Store.Claim(e.ctx, s.Key, *e.claimant(true))
		if err != nil {
			return
		}
		fence = w.State.Fence
	}
	if next := e.finishWithoutRun(s.Key, fence, deadlinePassed()); !next.Due.IsZero() {
		e.Dispatcher.Enqueue(next)
	}
}

// reconcileLater queues a request again that may have been claimed by a write
// whose reply was lost: no attempt runs, and on a store with one owner no lease
// expires. The hint is from before that claim. It returns false if that is not
// needed; otherwise it enqueues the hint when it is known what became of it.
func (e *Engine) reconcileLater(h store.Hint) bool {
	if e.Lease > 0 || !e.calls.addBackground(&e.background) {
		return false
	}
	go func() {
		defer e.background.Done()
		e.reconcile(h)
	}()
	return true
}

func (e *Engine) reconcile(h store.Hint) {
	var state store.State
	err := e.persist(func(ctx context.Context) (err error) {
		switch runs, inFlight := e.calls.beginReconcile(h.Key); {
		case runs:
			return store.ErrFenced
		case inFlight:
			return store.ErrUnavailable // again, when that is over
		}
		defer e.endStoreOp(h.Key)
		f := store.Fence{Key: h.Key, Fence: h.Fence + 1}
		state, err = e.Store.Finish(ctx, f, store.Outcome{Due: time.Now(), Code: core.CodeWorkerLost})
		return err
	})
	switch {
	case err == nil && state.Status.Ended(): // a cancel came meanwhile
		e.publishCancelled(e.ctx, &state)
	case err == nil:
		e.Dispatcher.Enqueue(state.Hint())
	case !h.Due.IsZero():
		e.Dispatcher.Enqueue(h) // it was not claimed, or runs
	}
}
