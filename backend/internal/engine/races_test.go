package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/stretchr/testify/require"
)

// These tests hold the places where two things meet: a shutdown and a call on
// its way into the store, a cancel and a promotion, an unresponsive handler and the end.

// A call that comes out of the store while the server gives up is queued
// again; nobody says that it succeeded.
func TestStopMeetsACallBeingStored(t *testing.T) {
	inBubbleOn(t, slowly(100*time.Millisecond, faultstore.Accept), settings{}, func(w *world) {
		r := w.start("slow")
		begun := time.Now()
		w.stopNow()
		require.Less(w, time.Since(begun), time.Second, "its context ends at once")
		require.Equal(w, store.Queued, w.state(r.Key).Status)
	}, &core.Action{Name: "slow", Run: takes(time.Minute)})
}

func TestStopMeetsACallBeingClaimed(t *testing.T) {
	for name, run := range map[string]handler{"listens": takes(time.Minute), "unresponsive": sleeps(time.Hour)} {
		t.Run(name, func(t *testing.T) {
			inBubbleOn(t, slowly(20*time.Millisecond, faultstore.Claim), settings{}, func(w *world) {
				r := w.request("slow", wire.ModeAsync)
				w.accept(r)
				w.stop()
				w.boot()
				w.after(10 * time.Millisecond) // it is being claimed
				w.stopNow()
				s := w.state(r.Key)
				require.Equal(w, store.Queued, s.Status)
				require.Equal(w, core.CodeShutdown, s.Code)
				require.Zero(w, s.CrashCount)
				w.after(2 * time.Hour)
			}, &core.Action{Name: "slow", Run: run})
		})
	}
}

// Stop returns although a handler that came from the queue ignores it.
func TestStopReturnsBeforeUnresponsiveHandlers(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.start("unresponsive", delay(time.Second))
		w.after(2 * time.Second)
		begun := time.Now()
		w.stopNow()
		require.Less(w, time.Since(begun), time.Minute)
		require.Equal(w, store.Queued, w.state(r.Key).Status)
		w.after(2 * time.Hour)
	}, &core.Action{Name: "unresponsive", Run: sleeps(time.Hour)})
}

// Stop waits for outcomes of calls that no handler runs.
func TestStopWaitsForOutcomes(t *testing.T) {
	inBubbleOn(t, slowly(50*time.Millisecond, faultstore.Finish), settings{}, func(w *world) {
		r := w.request("work", wire.ModeAsync)
		w.accept(r)
		w.stop()
		w.reg = &core.Registry{} // another version of the server
		w.boot()
		time.Sleep(10 * time.Millisecond) // fake: it is claimed, and put back
		w.stop()
		require.Equal(w, store.Queued, w.state(r.Key).Status)
	}, &core.Action{Name: "work", Run: ok(`1`)})
}

// However many calls are delayed for long, they do not keep others from their
// time.
func TestDelayedCallsDelayNoOthers(t *testing.T) {
	inBubble(t, settings{SchedulerOptions: SchedulerOptions{Workers: 1, MaxHints: 32}}, func(w *world) {
		for range 40 {
			w.start("quick", delay(20*24*time.Hour), func(r *Request) { r.Tenant = "greedy" })
		}
		w.s.mu.Lock()
		require.Zero(w, w.s.schedule.len(), "they wait in the store")
		w.s.mu.Unlock()
		w.start("slow")
		waits := w.start("quick")
		require.Equal(w, store.Succeeded, w.statusAfter(time.Hour, waits.Key))
	}, &core.Action{Name: "quick", Run: ok(`1`)}, &core.Action{Name: "slow", Run: takes(time.Second)})
}

// The cancel of a call without subscribers is tried until it is done.
func TestUnfollowedCallIsCancelledInTheEnd(t *testing.T) {
	var tries atomic.Int32
	twice := func() bool { return tries.Add(1) < 3 }
	inBubbleOn(t, fails(faultstore.CancelUnsubscribed, twice), settings{}, func(w *world) {
		r := w.start("work", cancelAfter(time.Minute), from(""))
		require.Equal(w, store.Running, w.statusAfter(90*time.Second, r.Key))
		require.Equal(w, store.Cancelled, w.statusAfter(3*time.Minute, r.Key))
		require.EqualValues(w, 3, tries.Load())
	}, &core.Action{Name: "work", Run: untilDone})
}

// A cancel that overtakes a call meets it, though the call is not stored.
func TestPendingCancelMeetsInlineCall(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		for _, mode := range []string{wire.ModeAuto, wire.ModeSync} {
			r, other := w.request("work", mode), w.request("work", mode)
			require.ErrorIs(w, w.cancel(r, "bob"), store.ErrNotFound)
			require.ErrorIs(w, w.cancel(other, "ann"), store.ErrNotFound)
			theirs, got := w.submit(r), w.submit(other)
			w.after(3 * time.Second)
			require.Equal(w, store.Succeeded, theirs.one(w).End.Status, "another subject's cancel")
			if mode == wire.ModeSync {
				require.Equal(w, store.Cancelled, got.one(w).End.Status, "it cannot be stored: its context ends")
				continue
			}
			require.Equal(w, Accepted, got.one(w).Kind)
			require.Equal(w, store.Cancelled, w.state(other.Key).Status)
			require.Zero(w, w.state(other.Key).Attempt, "its handler never starts")
		}
	}, &core.Action{Name: "work", Run: takes(2 * time.Second)})
}

// A cancel that comes while an inline call is promoted for its next attempt is
// met by the write that queues it.
func TestCancelMeetsPromotion(t *testing.T) {
	var runs counter
	inBubbleOn(t, slowly(100*time.Millisecond, faultstore.Accept), settings{}, func(w *world) {
		r, _ := w.send("fails", wire.ModeAuto)
		a := w.e.calls.findInline(r.Key)
		a.mu.Lock() // as Cancel does before the promotion begins
		a.cancelled = true
		a.mu.Unlock()
		a.cancel(core.ErrCancelled)
		require.Equal(w, store.Cancelled, w.statusAfter(time.Minute, r.Key))
		require.EqualValues(w, 1, runs.total.Load())
	}, &core.Action{Name: "fails", Retries: 5, Run: runs.of(firstReturns(errors.New("once")))})
}

// A cancel that ends a call before its caller follows it is told all the same.
func TestCancelMeetsAcceptance(t *testing.T) {
	inBubbleOn(t, after(faultstore.Accept, func() error {
		time.Sleep(10 * time.Millisecond) // fake
		return nil
	}), settings{}, func(w *world) {
		r, got := w.send("quick", wire.ModeAsync, delay(20*time.Hour))
		time.Sleep(5 * time.Millisecond) // fake
		require.NoError(w, w.cancel(r, "ann"))
		w.after(time.Second)
		require.Equal(w, Accepted, got.one(w).Kind)
		require.Len(w, w.box.of("c1", wire.TypeError), 1)
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}

// Invariant 4, at its narrowest: the first run is promoted and ends while a resend
// looks whether it was stored.
func TestInvariant04ResendMeetsPromotion(t *testing.T) {
	var reads atomic.Int32
	var runs counter
	faults := faultstore.Hooks{After: func(op faultstore.Op, _ store.Key, err error) error {
		if op == faultstore.Read && reads.Add(1) == 2 {
			time.Sleep(time.Second) // fake
		}
		return err
	}}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		r, first := w.send("work", wire.ModeAuto)
		w.after(100 * time.Millisecond)
		w.submit(r)
		w.after(time.Minute)
		require.Equal(w, Accepted, first.one(w).Kind)
		require.EqualValues(w, 1, runs.total.Load())
	}, &core.Action{Name: "work", Run: runs.of(does(func(call *core.Call) {
		time.Sleep(200 * time.Millisecond) // fake
		chunk(call, 1)
	}))})
}

// A quarantined attempt that ignores its end stays in quarantine: a crash that it
// causes would be counted against another one.
func TestUnresponsiveAttemptStaysInQuarantine(t *testing.T) {
	var runs counter
	inBubble(t, settings{}, func(w *world) {
		for range 2 {
			r := w.start("unresponsive", delay(time.Second))
			w.s.mu.Lock()
			w.s.schedule.items[r.Key].hint.CrashCount = store.QuarantineAfter
			w.s.mu.Unlock()
		}
		w.after(time.Hour)
		require.EqualValues(w, 1, runs.most.Load())
		w.requireIdle()
	}, &core.Action{Name: "unresponsive", Timeout: 5 * time.Second, Run: runs.of(sleeps(10 * time.Minute))})
}

// What a promotion tells is the newest progress, not what it was when the
// promotion began.
func TestPromotionSendsNewestProgress(t *testing.T) {
	inBubbleOn(t, slowly(10*time.Millisecond, faultstore.Accept), settings{}, func(w *world) {
		w.submit(w.request("work", wire.ModeAuto))
		w.after(time.Minute)
		sent := w.box.of("c1", wire.TypeProgress)
		require.NotEmpty(w, sent)
		require.InDelta(w, 90, *sent[len(sent)-1].Percent, 0)
	}, &core.Action{Name: "work", Run: does(func(call *core.Call) {
		call.Sink.Progress(10, "")
		time.Sleep(5*time.Second + 5*time.Millisecond) // fake
		call.Sink.Progress(90, "")
		time.Sleep(10 * time.Second) // fake
	})})
}

// What a handler says for good counts during a shutdown, too.
func TestPermanentFailureAtShutdown(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.start("work")
		w.stopNow()
		require.Equal(w, store.Failed, w.state(r.Key).Status)
	}, &core.Action{Name: "work", Retries: 3, Run: func(ctx context.Context, _ any, _ *core.Call) ([]byte, error) {
		<-ctx.Done()
		return nil, &core.PermanentError{Err: errors.New("not twice")}
	}})
}

// The reply to a promotion is lost: the call is still run to its end.
func TestPromotionWhoseReplyWasLost(t *testing.T) {
	inBubbleOn(t, losesReply(faultstore.Accept), settings{}, func(w *world) {
		w.e.Lease = 0 // as on a store with one owner
		r, got := w.send("slow", wire.ModeAuto)
		w.after(6 * time.Second)
		require.Equal(w, core.CodeUnavailable, got.one(w).Err.Code)
		require.Equal(w, store.Succeeded, w.statusAfter(time.Minute, r.Key))
	}, &core.Action{Name: "slow", Run: takes(10 * time.Second)})
}

// Stop returns though the store takes no outcome any more.
func TestStopOnAFullDisk(t *testing.T) {
	var full atomic.Bool
	faults := faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		return unavailable(full.Load() && (op == faultstore.Record || op == faultstore.Finish))
	}}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		w.start("emits")
		full.Store(true)
		w.after(time.Second)
		begun := time.Now()
		w.stopNow()
		require.Less(w, time.Since(begun), time.Minute)
		w.after(2 * time.Hour)
	}, &core.Action{Name: "emits", Run: does(func(call *core.Call) {
		for i := range 3600 {
			chunk(call, i)
			time.Sleep(time.Second) // fake
		}
	})})
}

// A cancel that was answered ok is stored with the promotion that it meets.
func TestPromotionStoresTheCancel(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r, _ := w.send("winds down", wire.ModeAuto)
		w.after(4 * time.Second)
		require.NoError(w, w.cancel(r, "ann"))
		w.after(2 * time.Second)
		s := w.state(r.Key)
		require.Equal(w, store.Running, s.Status)
		require.True(w, s.CancelRequested)
		w.after(time.Minute)
	}, &core.Action{Name: "winds down", Run: lateBy(3 * time.Second)})
}

// Invariant 4: a request whose id is on its way into the store for another call does
// not run beside it.
func TestInvariant04MeetsACallBeingStored(t *testing.T) {
	var runs counter
	inBubbleOn(t, slowly(100*time.Millisecond, faultstore.Accept), settings{}, func(w *world) {
		first, got := w.send("quick", wire.ModeAsync)
		w.after(10 * time.Millisecond) // whoever comes to the store first is stored
		_, refused := w.send("other", wire.ModeAuto, sameID(first))
		w.after(10 * time.Millisecond)
		_, known := w.send("quick", wire.ModeAuto, sameID(first))
		w.after(time.Second)
		require.Equal(w, Accepted, got.one(w).Kind)
		require.Equal(w, Refused, refused.one(w).Kind)
		require.Equal(w, core.CodeConflict, refused.one(w).Err.Code)
		require.Equal(w, Known, known.one(w).Kind)
		require.EqualValues(w, 1, runs.total.Load())
	}, &core.Action{Name: "quick", Run: runs.of(ok(`1`))}, &core.Action{Name: "other", Run: ok(`2`)})
}

// Another connection cancels a queued call, and sends its request again, before the
// first is acknowledged: the end is sent after that, once.
func TestCancelledEndFollowsTheAcknowledgement(t *testing.T) {
	var broken atomic.Bool // the store cannot be read
	inBubbleOn(t, fails(faultstore.Read, broken.Load), settings{}, func(w *world) {
		r := w.request("later", wire.ModeAsync)
		r.Delay = time.Hour
		w.handle(r, func(a Answer) {
			require.Equal(w, Accepted, a.Kind)
			require.NoError(w, w.cancel(r, "ann"))
			broken.Store(true)
			again := *r
			w.handle(&again, func(a Answer) { require.Equal(w, Known, a.Kind) })
			require.Empty(w, w.box.of("c1"), "nothing is sent before the acknowledgement")
		})
		require.Len(w, w.box.of("c1", wire.TypeError), 1)
	}, &core.Action{Name: "later", Run: ok(`1`)})
}
