package engine

import (
	"context"
	"fmt"
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

// These tests hold what a call rests on when nobody sweeps: a lost reply, a
// clock that is set back, a queue that is read in parts.

// The timer rings when so much time has passed; by the clock on the wall, which
// was set back, nothing is due yet. It is set again.
func TestTimerThatIsEarly(t *testing.T) {
	inBubble(t, settings{SchedulerOptions: SchedulerOptions{SweepInterval: 24 * time.Hour}}, func(w *world) {
		r := w.request("quick", wire.ModeAsync)
		r.Delay = time.Hour
		w.submit(r)
		w.s.mu.Lock()
		require.True(w, w.s.timer.Stop())
		w.s.mu.Unlock()
		w.s.onTimer() // an hour early
		w.after(time.Hour + time.Second)
		require.Equal(w, store.Succeeded, w.state(r.Key).Status)
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}

// The reply to a claim is lost, where no lease runs out: the call is not left
// running by nobody, and no worker's death is counted. A claim that was not
// made at all is made again.
func TestClaimWhoseReplyWasLost(t *testing.T) {
	for _, name := range []string{"made", "not made"} {
		t.Run(name, func(t *testing.T) {
			var lost atomic.Bool
			fail := func(op faultstore.Op, _ store.Key) error {
				if op == faultstore.Claim && !lost.Swap(true) {
					return store.ErrUnavailable
				}
				return nil
			}
			faults := faultstore.Hooks{Before: fail}
			if name == "made" {
				faults = faultstore.Hooks{After: faultstore.AfterSuccess(fail)}
			}
			inBubbleOn(t, faults, settings{SchedulerOptions: SchedulerOptions{SweepInterval: 24 * time.Hour}}, func(w *world) {
				w.e.Lease = 0 // as on a store with one owner
				r := w.request("quick", wire.ModeAsync)
				r.Delay = time.Second
				w.submit(r)
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
	inBubbleOn(t, slowly(time.Second, faultstore.Due), settings{SchedulerOptions: SchedulerOptions{Workers: 1, MaxHints: 32, SweepInterval: 24 * time.Hour}}, func(w *world) {
		var keys []store.Key
		for len(keys) < 20 {
			k := store.Key{Tenant: "acme", ID: wire.NewID()}
			if store.ShardOf(k, store.DefaultShards) != 0 {
				continue // the other shards take their time, and have nothing
			}
			_, err := w.store.Accept(w.Context(), store.Request{
				Key: k, Subject: "ann", Action: "quick", Input: []byte(`{}`), Deadline: time.Now().Add(time.Hour),
			})
			require.NoError(w, err)
			keys = append(keys, k)
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
// deaf for too long: else more would run than may.
func TestLostClaimsHoldTheirWorkers(t *testing.T) {
	for name, c := range map[string]struct{ ignoresFor, next time.Duration }{
		"returns":      {4 * time.Second, 4 * time.Second},
		"unresponsive": {time.Hour, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var running, most atomic.Int32
			count := func() func() {
				most.Store(max(most.Load(), running.Add(1)))
				return func() { running.Add(-1) }
			}
			emits := func(ctx context.Context, _ any, call *core.Call) ([]byte, error) {
				defer count()()
				for i := range 2 {
					time.Sleep(time.Second) // fake
					chunk(call, i)
				}
				<-ctx.Done()
				time.Sleep(c.ignoresFor) // fake
				return nil, ctx.Err()
			}
			quick := func(context.Context, any, *core.Call) ([]byte, error) {
				defer count()()
				return []byte(`1`), nil
			}
			inBubble(t, settings{SchedulerOptions: SchedulerOptions{Workers: 1}}, func(w *world) {
				r := w.request("emits", wire.ModeAsync)
				w.submit(r)
				w.after(1500 * time.Millisecond)
				_, err := w.store.Finish(w.Context(), store.Fence{Key: r.Key, Fence: 1}, store.Outcome{Due: time.Now().Add(24 * time.Hour)})
				require.NoError(w, err)
				w.after(time.Second) // it has learnt that its claim is lost
				next := w.request("quick", wire.ModeAsync)
				w.submit(next)
				w.after(c.next - 2*time.Second)
				require.Equal(w, store.Queued, w.state(next.Key).Status)
				w.after(3 * time.Second)
				require.Equal(w, store.Succeeded, w.state(next.Key).Status)
				if name == "returns" {
					require.EqualValues(w, 1, most.Load())
				}
				w.after(2 * time.Hour)
				w.s.mu.Lock()
				defer w.s.mu.Unlock()
				require.Equal(w, 1, w.s.free)
				require.Zero(w, w.s.unresponsive)
				require.Empty(w, w.e.calls.running)
			}, &core.Action{Name: "emits", Timeout: 2 * time.Hour, Run: emits}, &core.Action{Name: "quick", Run: quick})
		})
	}
}

// A cancel that was answered ok while the call was not stored is stored before
// anybody learns that the call is, also where the store refuses it at first.
func TestPromotionHoldsUntilTheCancelIsStored(t *testing.T) {
	var refused atomic.Int32
	faults := faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		if op == faultstore.Cancel && refused.Add(1) <= 5 {
			return fmt.Errorf("%w: the disk is full", store.ErrUnavailable)
		}
		return nil
	}}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		r := w.request("winds down", wire.ModeAuto)
		got := w.submit(r)
		w.after(4 * time.Second)
		_, err := w.e.Cancel(w.Context(), r.Key, "ann")
		require.NoError(w, err)
		require.Zero(w, refused.Load(), "it runs inline")
		w.after(time.Second + 50*time.Millisecond)
		require.Positive(w, refused.Load())
		got.none(w)
		w.after(2 * time.Second)
		require.Equal(w, Accepted, got.one(w).Kind)
		require.True(w, got.one(w).State.CancelRequested)
		require.True(w, w.state(r.Key).CancelRequested)
		w.after(time.Minute)
		require.Equal(w, store.Cancelled, w.state(r.Key).Status)
		synctest.Wait()
	}, &core.Action{Name: "winds down", Run: func(ctx context.Context, _ any, _ *core.Call) ([]byte, error) {
		<-ctx.Done()
		time.Sleep(8 * time.Second) // fake
		return nil, ctx.Err()
	}})
}
