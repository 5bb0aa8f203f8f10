package engine

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/stretchr/testify/require"
)

// These tests hold the places where two things meet: a shutdown and a call on
// its way into the store, a cancel and a promotion, a deaf handler and the end.

// slowly delays an operation of the store.
func slowly(d time.Duration, slow faultstore.Op) faultstore.Hooks {
	return faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		if op == slow {
			time.Sleep(d) // fake
		}
		return nil
	}}
}

// losesReply loses the reply to the first success of an operation.
func losesReply(which faultstore.Op) faultstore.Hooks {
	var lost atomic.Bool
	return faultstore.Hooks{After: faultstore.AfterSuccess(func(op faultstore.Op, _ store.Key) error {
		if op == which && !lost.Swap(true) {
			return store.ErrUnavailable
		}
		return nil
	})}
}

func over(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// A call that comes out of the store while the server gives up is queued
// again; nobody says that it succeeded.
func TestStopMeetsACallBeingStored(t *testing.T) {
	inBubbleOn(t, slowly(100*time.Millisecond, faultstore.Accept), settings{}, func(w *world) {
		r := w.request("slow", wire.ModeAsync)
		w.submit(r)
		begun := time.Now()
		w.stopNow()
		require.Less(w, time.Since(begun), time.Second, "its context ends at once")
		require.Equal(w, store.Queued, w.state(r.Key).Status)
	}, &core.Action{Name: "slow", Run: takes(time.Minute)})
}

func TestStopMeetsACallBeingClaimed(t *testing.T) {
	ignoresFor := func(_ context.Context, _ any, _ *core.Call) ([]byte, error) {
		time.Sleep(time.Hour) // fake
		return []byte(`1`), nil
	}
	for name, run := range map[string]handler{"listens": takes(time.Minute), "unresponsive": ignoresFor} {
		t.Run(name, func(t *testing.T) {
			inBubbleOn(t, slowly(20*time.Millisecond, faultstore.Claim), settings{}, func(w *world) {
				r := w.request("slow", wire.ModeAsync)
				_, err := w.store.Accept(w.Context(), r.forStore(time.Now(), time.Now().Add(time.Hour)))
				require.NoError(w, err)
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

// Stop returns though a handler that came from the queue is deaf.
func TestStopReturnsBeforeUnresponsiveHandlers(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.request("unresponsive", wire.ModeAsync)
		r.Delay = time.Second
		w.submit(r)
		w.after(2 * time.Second)
		begun := time.Now()
		w.stopNow()
		require.Less(w, time.Since(begun), time.Minute)
		require.Equal(w, store.Queued, w.state(r.Key).Status)
		w.after(2 * time.Hour)
	}, &core.Action{Name: "unresponsive", Run: func(context.Context, any, *core.Call) ([]byte, error) {
		time.Sleep(time.Hour) // fake
		return []byte(`1`), nil
	}})
}

// Stop waits for outcomes of calls that no handler runs.
func TestStopWaitsForOutcomes(t *testing.T) {
	inBubbleOn(t, slowly(50*time.Millisecond, faultstore.Finish), settings{}, func(w *world) {
		r := w.request("work", wire.ModeAsync)
		_, err := w.store.Accept(w.Context(), r.forStore(time.Now(), time.Now().Add(time.Hour)))
		require.NoError(w, err)
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
			r := w.request("quick", wire.ModeAsync)
			r.Tenant, r.Delay = "greedy", 20*24*time.Hour
			w.submit(r)
		}
		w.submit(w.request("slow", wire.ModeAsync))
		waits := w.request("quick", wire.ModeAsync)
		w.submit(waits)
		w.after(time.Hour)
		require.Equal(w, store.Succeeded, w.state(waits.Key).Status)
	}, &core.Action{Name: "quick", Run: ok(`1`)}, &core.Action{Name: "slow", Run: takes(time.Second)})
}

// The cancel of an abandoned call is tried until it is done.
func TestUnfollowedCallIsCancelledInTheEnd(t *testing.T) {
	var tries atomic.Int32
	faults := faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		if op == faultstore.Cancel && tries.Add(1) < 3 {
			return store.ErrUnavailable
		}
		return nil
	}}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		r := w.request("work", wire.ModeAsync)
		after := time.Minute
		r.CancelAfter, r.Connection = &after, ""
		w.submit(r)
		w.after(2 * time.Minute)
		require.Equal(w, store.Cancelled, w.state(r.Key).Status)
	}, &core.Action{Name: "work", Run: untilDone})
}

// A cancel that overtakes a call meets it, though the call is not stored.
func TestPendingCancelMeetsInlineCall(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		for _, mode := range []string{wire.ModeAuto, wire.ModeSync} {
			r := w.request("work", mode)
			_, err := w.e.Cancel(w.Context(), r.Key, "bob")
			require.ErrorIs(w, err, store.ErrNotFound)
			other := w.request("work", mode)
			_, err = w.e.Cancel(w.Context(), other.Key, "ann")
			require.ErrorIs(w, err, store.ErrNotFound)
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
	var runs atomic.Int32
	inBubbleOn(t, slowly(100*time.Millisecond, faultstore.Accept), settings{}, func(w *world) {
		r := w.request("fails", wire.ModeAuto)
		w.submit(r)
		a := w.e.calls.findInline(r.Key)
		a.mu.Lock() // as Cancel does before the promotion begins
		a.cancelled = true
		a.mu.Unlock()
		a.cancel(core.ErrCancelled)
		w.after(time.Minute)
		require.Equal(w, store.Cancelled, w.state(r.Key).Status)
		require.EqualValues(w, 1, runs.Load())
	}, &core.Action{Name: "fails", Retries: 5, Run: func(context.Context, any, *core.Call) ([]byte, error) {
		runs.Add(1)
		return nil, errors.New("once")
	}})
}

// A cancel that ends a call before its caller follows it is told all the same.
func TestCancelMeetsAcceptance(t *testing.T) {
	faults := faultstore.Hooks{After: faultstore.AfterSuccess(func(op faultstore.Op, _ store.Key) error {
		if op == faultstore.Accept {
			time.Sleep(10 * time.Millisecond) // fake
		}
		return nil
	})}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		r := w.request("quick", wire.ModeAsync)
		r.Delay = 20 * time.Hour
		got := w.submit(r)
		time.Sleep(5 * time.Millisecond) // fake
		_, err := w.e.Cancel(w.Context(), r.Key, "ann")
		require.NoError(w, err)
		w.after(time.Second)
		require.Equal(w, Accepted, got.one(w).Kind)
		require.Len(w, w.box.of("c1", wire.TypeError), 1)
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}

// Invariant 4, at its narrowest: the first run is promoted and ends while a resend
// looks whether it was stored.
func TestInvariant04ResendMeetsPromotion(t *testing.T) {
	var reads, runs atomic.Int32
	faults := faultstore.Hooks{After: faultstore.AfterSuccess(func(op faultstore.Op, _ store.Key) error {
		if op == faultstore.Read && reads.Add(1) == 2 {
			time.Sleep(time.Second) // fake
		}
		return nil
	})}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		r := w.request("work", wire.ModeAuto)
		first := w.submit(r)
		w.after(100 * time.Millisecond)
		w.submit(r)
		w.after(time.Minute)
		require.Equal(w, Accepted, first.one(w).Kind)
		require.EqualValues(w, 1, runs.Load())
	}, &core.Action{Name: "work", Run: func(_ context.Context, _ any, call *core.Call) ([]byte, error) {
		runs.Add(1)
		time.Sleep(200 * time.Millisecond) // fake
		chunk(call, 1)
		return []byte(`1`), nil
	}})
}

// A deaf suspect keeps its lane: another beside it would be charged for it.
func TestUnresponsiveAttemptStaysInQuarantine(t *testing.T) {
	var running, most atomic.Int32
	inBubble(t, settings{}, func(w *world) {
		for range 2 {
			r := w.request("unresponsive", wire.ModeAsync)
			r.Delay = time.Second
			w.submit(r)
			w.s.mu.Lock()
			w.s.schedule.items[r.Key].hint.CrashCount = store.QuarantineAfter
			w.s.mu.Unlock()
		}
		w.after(time.Hour)
		require.EqualValues(w, 1, most.Load())
		w.s.mu.Lock()
		defer w.s.mu.Unlock()
		require.False(w, w.s.quarantineBusy)
		require.Equal(w, w.s.opt.Workers, w.s.free)
	}, &core.Action{Name: "unresponsive", Timeout: 5 * time.Second, Run: func(context.Context, any, *core.Call) ([]byte, error) {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		time.Sleep(10 * time.Minute) // fake
		return []byte(`1`), nil
	}})
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
	}, &core.Action{Name: "work", Run: func(_ context.Context, _ any, call *core.Call) ([]byte, error) {
		call.Sink.Progress(10, "")
		time.Sleep(5*time.Second + 5*time.Millisecond) // fake
		call.Sink.Progress(90, "")
		time.Sleep(10 * time.Second) // fake
		return []byte(`1`), nil
	}})
}

// What a handler says for good counts during a shutdown, too.
func TestPermanentFailureAtShutdown(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.request("work", wire.ModeAsync)
		w.submit(r)
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
		r := w.request("slow", wire.ModeAuto)
		got := w.submit(r)
		w.after(6 * time.Second)
		require.Equal(w, core.CodeUnavailable, got.one(w).Err.Code)
		w.after(time.Minute)
		require.Equal(w, store.Succeeded, w.state(r.Key).Status)
		synctest.Wait()
	}, &core.Action{Name: "slow", Run: takes(10 * time.Second)})
}

// Calls that are cancelled while they wait leave no places behind.
func TestCancelledItemsLeaveTheirQueue(t *testing.T) {
	s := newSchedule(100)
	now := time.Now()
	for range 10_000 {
		k := store.Key{Tenant: "acme", ID: wire.NewID()}
		s.push(store.Hint{Key: k, Due: now, Deadline: now.Add(time.Hour)}, now)
		s.remove(k)
	}
	require.Less(t, len(s.ready["acme"].items), 100)
	_, found := s.pop(true)
	require.False(t, found)
}

// What a handler says of its failure is bounded, and what is no JSON is not
// sent as such.
func TestErrorsAreBounded(t *testing.T) {
	deep := json.RawMessage(strings.Repeat("[", 61) + strings.Repeat("]", 61))
	for details, kept := range map[string]bool{`{"a":`: false, `{"a":"]]"}`: true, string(deep): false, string(deep[1 : len(deep)-1]): true, "\"\xff\"": false} {
		end := failed(&core.Error{Code: "x", Message: strings.Repeat("ü", 1<<20), Details: json.RawMessage(details)})
		require.LessOrEqual(t, len(end.Message), core.MaxErrorText)
		require.Equal(t, kept, end.Payload != nil, details)
	}
}

// Stop returns though the store takes no outcome any more.
func TestStopOnAFullDisk(t *testing.T) {
	var full atomic.Bool
	faults := faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		if full.Load() && (op == faultstore.Record || op == faultstore.Finish) {
			return store.ErrUnavailable
		}
		return nil
	}}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		r := w.request("emits", wire.ModeAsync)
		w.submit(r)
		full.Store(true)
		w.after(time.Second)
		begun := time.Now()
		w.stopNow()
		require.Less(w, time.Since(begun), time.Minute)
		w.after(2 * time.Hour)
	}, &core.Action{Name: "emits", Run: func(_ context.Context, _ any, call *core.Call) ([]byte, error) {
		for i := range 3600 {
			chunk(call, i)
			time.Sleep(time.Second) // fake
		}
		return []byte(`1`), nil
	}})
}

// A cancel that was answered ok is stored with the promotion that it meets.
func TestPromotionStoresTheCancel(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.request("winds down", wire.ModeAuto)
		w.submit(r)
		w.after(4 * time.Second)
		_, err := w.e.Cancel(w.Context(), r.Key, "ann")
		require.NoError(w, err)
		w.after(2 * time.Second)
		s := w.state(r.Key)
		require.Equal(w, store.Running, s.Status)
		require.True(w, s.CancelRequested)
		w.after(time.Minute)
	}, &core.Action{Name: "winds down", Run: func(ctx context.Context, _ any, _ *core.Call) ([]byte, error) {
		<-ctx.Done()
		time.Sleep(3 * time.Second) // fake
		return nil, ctx.Err()
	}})
}

// Invariant 4: a request whose id is on its way into the store for another call does
// not run beside it.
func TestInvariant04MeetsACallBeingStored(t *testing.T) {
	var ran atomic.Int32
	inBubbleOn(t, slowly(100*time.Millisecond, faultstore.Accept), settings{}, func(w *world) {
		first := w.request("quick", wire.ModeAsync)
		got := w.submit(first)
		w.after(10 * time.Millisecond) // whoever comes to the store first is stored
		other := w.request("other", wire.ModeAuto)
		other.Key = first.Key
		refused := w.submit(other)
		w.after(10 * time.Millisecond)
		same := w.request("quick", wire.ModeAuto)
		same.Key = first.Key
		known := w.submit(same)
		w.after(time.Second)
		require.Equal(w, Accepted, got.list[0].Kind)
		require.Equal(w, Refused, refused.list[0].Kind)
		require.Equal(w, core.CodeConflict, refused.list[0].Err.Code)
		require.Equal(w, Known, known.list[0].Kind)
		require.EqualValues(w, 1, ran.Load())
	}, &core.Action{Name: "quick", Run: func(context.Context, any, *core.Call) ([]byte, error) {
		ran.Add(1)
		return []byte(`1`), nil
	}}, &core.Action{Name: "other", Run: ok(`2`)})
}
