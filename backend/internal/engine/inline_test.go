package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/stretchr/testify/require"
)

// An acknowledged cancel holds although the handler's context had ended before, for
// another reason.
func TestCancelOfAnInlineCallThatHasTimedOut(t *testing.T) {
	var runs counter
	lingers := func(ctx context.Context, _ any, _ *core.Call) ([]byte, error) {
		<-ctx.Done()
		time.Sleep(time.Second) // fake
		return nil, errors.New("late")
	}
	inBubble(t, settings{}, func(w *world) {
		r, _ := w.send("lingers", wire.ModeAuto)
		w.after(1500 * time.Millisecond)
		require.NoError(w, w.cancel(r, "ann"))
		require.Equal(w, store.Cancelled, w.statusAfter(time.Hour, r.Key))
		require.EqualValues(w, 1, runs.total.Load())
	}, &core.Action{Name: "lingers", Timeout: time.Second, Retries: 5, Run: runs.of(lingers)})
}

// While an inline attempt of a call looks whether the call was stored, a cancel and
// a resend wait for what it finds.
func TestLookIntoTheStoreOfACallThatIsThere(t *testing.T) {
	inBubbleOn(t, slowly(10*time.Millisecond, faultstore.Read), settings{}, func(w *world) {
		first := w.request("quick", wire.ModeAuto)
		w.accept(first)
		wrong, resent := *first, *first
		wrong.Payload = []byte(`{"other":1}`)
		refused := w.submit(&wrong)
		time.Sleep(2 * time.Millisecond) // fake
		known := w.submit(&resent)
		require.NoError(w, w.cancel(first, "ann"))
		w.after(time.Second)
		require.Equal(w, core.CodeConflict, refused.one(w).Err.Code)
		require.Equal(w, Known, known.one(w).Kind)
		require.Equal(w, store.Cancelled, w.state(first.Key).Status)
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}

// A call that cannot be stored has one attempt, whatever the action's retries.
func TestSyncCallTimesOutOnce(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		got := w.submit(w.request("slow", wire.ModeSync))
		w.after(time.Minute)
		require.Equal(w, core.CodeTimeout, got.one(w).End.Code)
	}, &core.Action{Name: "slow", Timeout: time.Second, Retries: 3, Run: takes(time.Minute)})
}

// A call that cannot be stored is refused at a shutdown if its handler wants another
// attempt: the client can send it again.
func TestSyncCallAtShutdown(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		got := w.submit(w.request("busy", wire.ModeSync))
		w.stopNow()
		require.Equal(w, core.CodeUnavailable, got.one(w).Err.Code)
	}, &core.Action{Name: "busy", Retries: 3, Run: func(ctx context.Context, _ any, _ *core.Call) ([]byte, error) {
		<-ctx.Done()
		return nil, &core.RetryAfterError{After: time.Second, Err: ctx.Err()}
	}})
}

// A cancel that comes while a call is reconciled ends it, and the end is published.
func TestCancelMeetsReconciliation(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	faults := fails(faultstore.Finish, broken.Load)
	faults.After = losesReply(faultstore.Accept).After
	inBubbleOn(t, faults, settings{}, func(w *world) {
		w.e.Lease = 0 // as on a store with one owner
		r := w.request("quick", wire.ModeAsync)
		require.Equal(w, core.CodeUnavailable, w.submit(r).one(w).Err.Code)
		w.follow(deliver.Address{Tenant: "acme", Connection: "c2"}, r.ID)
		require.NoError(w, w.cancel(r, "ann"))
		broken.Store(false)
		require.Equal(w, store.Cancelled, w.statusAfter(time.Minute, r.Key))
		require.Len(w, w.box.of("c2", wire.TypeError), 1)
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}

// A resend that meets the question whether a claim was stored does not start an
// attempt which the answer would take for the lost one.
func TestResendMeetsReconciliation(t *testing.T) {
	accepts := 0
	var runs counter
	faults := faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		switch op {
		case faultstore.Accept:
			if accepts++; accepts == 1 {
				return store.ErrUnavailable
			}
		case faultstore.Finish:
			time.Sleep(10 * time.Millisecond) // fake
		}
		return nil
	}}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		w.e.Lease = 0 // as on a store with one owner
		r := w.request("slow", wire.ModeAsync)
		require.Equal(w, core.CodeUnavailable, w.submit(r).one(w).Err.Code)
		require.Equal(w, core.CodeUnavailable, w.submit(r).one(w).Err.Code, "it is being reconciled")
		w.after(time.Second)
		require.Equal(w, Accepted, w.submit(r).one(w).Kind)
		require.Equal(w, store.Succeeded, w.statusAfter(time.Hour, r.Key))
		require.EqualValues(w, 1, runs.total.Load())
	}, &core.Action{Name: "slow", Run: runs.of(sleeps(time.Minute))})
}
