package engine

import (
	"context"
	"errors"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/store"
)

// promote stores an inline call under a claim, while its handler runs on. When it
// returns the call is no longer inline, whichever goroutine promoted it.
func (a *Attempt) promote() {
	if !a.transition(inline, promoting, nil) {
		return
	}
	n := a.request.forStore(a.runner.call.Info.Accepted, a.deadline)
	n.Claim = a.e.claimant(false)
	n.Progress = a.reports().newestProgress()
	got, err := a.e.Store.Accept(a.e.ctx, n)
	if err != nil || !got.Fresh {
		a.failPromotion(err)
		return
	}
	a.e.calls.promote(a)
	if a.isCancelled() {
		a.storeCancel(&got.State)
	}
	a.answerPromoted(&got.State)
	if !got.State.Status.Ended() {
		a.setClaim(&got.State)
		a.reports().startStored(&got.State, a.fence)
		a.transition(promoting, stored, nil)
		return
	}
	// A cancel of the id was remembered.
	a.transition(promoting, decided, nil)
	a.cancel(core.ErrCancelled)
	a.e.publishCancelled(a.e.ctx, &got.State)
	a.e.calls.removeAttempt(a)
}

// storeCancel flags a call that was cancelled while it was inline. The cancel was
// answered, so it must be stored before the call is acknowledged. If the process
// ends before that, there was no acknowledgement.
func (a *Attempt) storeCancel(s *store.State) {
	err := a.e.persist(func(ctx context.Context) error {
		_, err := a.e.Store.Cancel(ctx, a.key, a.request.Subject)
		return err
	})
	s.CancelRequested = s.CancelRequested || err == nil
}

// answerPromoted subscribes the callers to their call, and acknowledges it.
func (a *Attempt) answerPromoted(s *store.State) {
	for _, c := range a.takeCallers() {
		a.e.subscribe(a.e.ctx, c.request, a.key.ID)
		c.reply(Answer{Kind: Accepted, State: *s})
	}
}

// failPromotion ends an inline call that could not be stored, or whose id was
// stored by another run.
func (a *Attempt) failPromotion(err error) {
	cause, answer := core.ErrSuperseded, refused(core.CodeSuperseded, "another run of this id was stored first", false)
	if err != nil {
		cause, answer = core.ErrUnstored, refusal(err)
		a.log().Warn("a call could not be promoted", "error", err)
	}
	a.cancel(cause)
	a.transition(promoting, decided, nil)
	a.e.calls.removeAttempt(a)
	for _, c := range a.takeCallers() {
		c.reply(answer)
	}
	if errors.Is(err, store.ErrUnavailable) {
		a.e.reconcileLater(store.Hint{Key: a.key})
	}
}
