package engine

import (
	"errors"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// These tests hold what hints do between two sweeps: none comes here.

// Invariant 12: a hint that comes too early is kept until its request is due.
func TestInvariant12EarlyHintIsKept(t *testing.T) {
	inBubble(t, noSweep, func(w *world) {
		r := w.start("quick", delay(time.Hour))
		w.forget(r.Key)
		w.s.Enqueue(store.Hint{Key: r.Key, Due: time.Now(), Status: store.Queued, Deadline: time.Now().Add(24 * time.Hour)})
		require.Equal(w, store.Queued, w.statusAfter(time.Minute, r.Key))
		require.Equal(w, store.Succeeded, w.statusAfter(time.Hour, r.Key))
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}

// Invariant 12: the hint for a call that runs elsewhere is kept for the time when
// the call may have to be cancelled.
func TestInvariant12HintOfALeasedCallIsKept(t *testing.T) {
	inBubble(t, noSweep, func(w *world) {
		r := w.start("work", cancelAfter(5*time.Minute))
		w.disconnect(c1)
		w.forget(r.Key)
		s := w.state(r.Key)
		hint := s.Hint()
		hint.Due = time.Now()
		w.s.Enqueue(hint)
		require.Equal(w, store.Running, w.statusAfter(4*time.Minute, r.Key))
		require.Equal(w, store.Cancelled, w.statusAfter(2*time.Minute, r.Key))
	}, &core.Action{Name: "work", Run: untilDone})
}

// Invariant 12: the next attempt of a call that came from the queue has a hint.
func TestInvariant12RetryHasAHint(t *testing.T) {
	inBubble(t, noSweep, func(w *world) {
		r := w.start("fails once", delay(time.Second))
		w.after(time.Minute)
		require.Equal(w, `ack attempt2:internal ok1`, list(w.events(r.Key)))
	}, &core.Action{
		Name: "fails once", Retries: 1, Backoff: core.Backoff{Base: time.Second}, Run: firstReturns(errors.New("once")),
	})
}

// Invariant 7: a hint that does not know of crashes brings no request out of
// quarantine: one such request runs at a time, and each of them runs.
func TestInvariant07OldHintDoesNotEndQuarantine(t *testing.T) {
	var runs counter
	inBubble(t, noSweep, func(w *world) {
		var hints []store.Hint
		for range 3 {
			r := w.request("work", wire.ModeAsync)
			w.accept(r)
			for range store.QuarantineAfter { // each worker crashes
				_, err := w.store.Claim(w.Context(), r.Key, store.Claimant{Lease: time.Second})
				require.NoError(w, err)
				w.after(2 * time.Second)
			}
			hints = append(hints, store.Hint{Key: r.Key, Due: time.Now(), Status: store.Queued, Deadline: time.Now().Add(time.Hour)})
		}
		w.s.Enqueue(hints...)
		w.after(10 * time.Minute)
		require.EqualValues(w, 1, runs.most.Load())
		for i := range hints {
			require.Equal(w, store.Succeeded, w.state(hints[i].Key).Status)
		}
	}, &core.Action{Name: "work", Run: runs.of(sleeps(time.Minute))})
}

// Invariant 12: a call that is stored claimed, and that no connection follows, has
// a hint for the time when it is to be cancelled.
func TestInvariant12UnfollowedCallHasAHint(t *testing.T) {
	inBubble(t, noSweep, func(w *world) {
		r := w.start("work", cancelAfter(5*time.Minute), from(""))
		require.Equal(w, store.Running, w.statusAfter(4*time.Minute, r.Key))
		require.Equal(w, store.Cancelled, w.statusAfter(2*time.Minute, r.Key))
	}, &core.Action{Name: "work", Run: untilDone})
}
