package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/stretchr/testify/require"
)

// These tests hold what a call rests on when nobody sweeps: a lost reply, a
// clock that is set back, a queue that is read in parts.

// The timer rings when so much time has passed; by the clock on the wall, which
// was set back, nothing is due yet. It is set again.
func TestTimerThatIsEarly(t *testing.T) {
	inBubble(t, noSweep, func(w *world) {
		r := w.start("quick", delay(time.Hour))
		w.s.mu.Lock()
		require.True(w, w.s.timer.Stop())
		w.s.mu.Unlock()
		w.s.onTimer() // an hour early
		require.Equal(w, store.Succeeded, w.statusAfter(time.Hour+time.Second, r.Key))
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}

// The reply to a claim is lost, where no lease runs out: the call is not left
// running by nobody, and no worker's death is counted. A claim that was not
// made at all is made again.
func TestClaimWhoseReplyWasLost(t *testing.T) {
	for _, name := range []string{"made", "not made"} {
		t.Run(name, func(t *testing.T) {
			var lost atomic.Bool
			once := func() error { return unavailable(!lost.Swap(true)) }
			faults := before(faultstore.Claim, once)
			if name == "made" {
				faults = after(faultstore.Claim, once)
			}
			inBubbleOn(t, faults, noSweep, func(w *world) {
				w.e.Lease = 0 // as on a store with one owner
				r := w.start("quick", delay(time.Second))
				w.after(time.Minute)
				s := w.state(r.Key)
				require.True(w, lost.Load())
				require.Equal(w, store.Succeeded, s.Status)
				require.Zero(w, s.CrashCount)
				want := map[string]string{"made": `ack attempt2:worker_lost ok1`, "not made": `ack ok1`}
				require.Equal(w, want[name], list(w.events(r.Key)))
			}, &core.Action{Name: "quick", Run: ok(`1`)})
		})
	}
}

// A queue that does not fit into memory is read in parts. When a part has been
// worked off before it was read to its end, the next one is still asked for.
func TestQueueIsReadInParts(t *testing.T) {
	few := settings{SchedulerOptions: SchedulerOptions{Workers: 1, MaxHints: 32, SweepInterval: 24 * time.Hour}}
	inBubbleOn(t, slowly(time.Second, faultstore.Due), few, func(w *world) {
		var keys []store.Key
		for len(keys) < 20 {
			r := w.request("quick", wire.ModeAsync)
			if store.ShardOf(r.Key, store.DefaultShards) != 0 {
				continue // the other shards take their time, and have nothing
			}
			w.accept(r)
			keys = append(keys, r.Key)
		}
		w.s.mu.Lock()
		w.s.truncated = true
		w.s.mu.Unlock()
		w.s.dispatch()
		w.after(10 * time.Minute) // two of a shard at a time, 16 s each
		for i, k := range keys {
			require.Equal(w, store.Succeeded, w.state(k).Status, i)
		}
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}

// A handler whose claim is lost holds its worker until it has returned, or is
// has ignored its end for too long: else more would run than may.
func TestLostClaimsHoldTheirWorkers(t *testing.T) {
	for name, c := range map[string]struct{ ignoresFor, next time.Duration }{
		"returns":      {4 * time.Second, 4 * time.Second},
		"unresponsive": {time.Hour, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var runs counter
			emits := func(ctx context.Context, _ any, call *core.Call) ([]byte, error) {
				for i := range 2 {
					time.Sleep(time.Second) // fake
					chunk(call, i)
				}
				return lateBy(c.ignoresFor)(ctx, nil, call)
			}
			inBubble(t, oneWorker, func(w *world) {
				r := w.start("emits")
				w.after(1500 * time.Millisecond)
				_, err := w.store.Finish(w.Context(), store.Fence{Key: r.Key, Fence: 1}, store.Outcome{Due: time.Now().Add(24 * time.Hour)})
				require.NoError(w, err)
				w.after(time.Second) // it has learnt that its claim is lost
				next := w.start("quick")
				require.Equal(w, store.Queued, w.statusAfter(c.next-2*time.Second, next.Key))
				require.Equal(w, store.Succeeded, w.statusAfter(3*time.Second, next.Key))
				if name == "returns" {
					require.EqualValues(w, 1, runs.most.Load())
				}
				w.after(2 * time.Hour)
				w.requireIdle()
				require.Empty(w, w.e.calls.running)
			},
				&core.Action{Name: "emits", Timeout: 2 * time.Hour, Run: runs.of(emits)},
				&core.Action{Name: "quick", Run: runs.of(ok(`1`))})
		})
	}
}

// A cancel that was answered ok while the call was not stored is stored before
// anybody learns that the call is, also where the store refuses it at first.
func TestPromotionHoldsUntilTheCancelIsStored(t *testing.T) {
	var refused atomic.Int32
	inBubbleOn(t, before(faultstore.Cancel, func() error {
		if refused.Add(1) <= 5 {
			return fmt.Errorf("%w: the disk is full", store.ErrUnavailable)
		}
		return nil
	}), settings{}, func(w *world) {
		r, got := w.send("winds down", wire.ModeAuto)
		w.after(4 * time.Second)
		require.NoError(w, w.cancel(r, "ann"))
		require.Zero(w, refused.Load(), "it runs inline")
		w.after(time.Second + 50*time.Millisecond)
		require.Positive(w, refused.Load())
		require.Empty(w, got)
		w.after(2 * time.Second)
		require.Equal(w, Accepted, got.one(w).Kind)
		require.True(w, got.one(w).State.CancelRequested)
		require.True(w, w.state(r.Key).CancelRequested)
		require.Equal(w, store.Cancelled, w.statusAfter(time.Minute, r.Key))
	}, &core.Action{Name: "winds down", Run: lateBy(8 * time.Second)})
}

// Invariant 11: Stop waits for the write that queues a call again which a lost
// reply left claimed: the store may be closed afterwards.
func TestInvariant11StopWaitsForReconciliation(t *testing.T) {
	var lost, queued atomic.Bool
	faults := faultstore.Hooks{After: faultstore.AfterSuccess(func(op faultstore.Op, _ store.Key) error {
		switch {
		case op == faultstore.Accept && !lost.Swap(true):
			return store.ErrUnavailable
		case op == faultstore.Finish:
			time.Sleep(100 * time.Millisecond) // fake
			queued.Store(true)
		}
		return nil
	})}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		w.e.Lease = 0 // as on a store with one owner
		r := w.request("quick", wire.ModeAsync)
		require.Equal(w, core.CodeUnavailable, w.submit(r).one(w).Err.Code)
		w.stopNow()
		require.True(w, queued.Load())
		require.Equal(w, store.Queued, w.state(r.Key).Status)
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}
