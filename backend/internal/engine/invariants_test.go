package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
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

// Invariant 1: nothing acknowledged is lost. Calls are submitted while the store
// fails at random, before and after its writes, and while processes die; every
// acknowledged call comes to exactly one end.
func TestInvariant01NothingAcknowledgedIsLost(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			var random struct {
				sync.Mutex
				*rand.Rand
				quiet bool
			}
			random.Rand = rand.New(rand.NewPCG(seed, 1))
			fail := func(op faultstore.Op, _ store.Key) error {
				random.Lock()
				defer random.Unlock()
				writes := op == faultstore.Accept || op == faultstore.Claim || op == faultstore.Record || op == faultstore.Finish
				return unavailable(!random.quiet && writes && random.IntN(100) < 10)
			}
			work := &core.Action{Name: "work", Retries: 3, Run: func(_ context.Context, _ any, call *core.Call) ([]byte, error) {
				for i := range 4 {
					chunk(call, i)
					time.Sleep(time.Second)
				}
				if call.Info.Attempt == 1 && seed%2 == 0 {
					return nil, errors.New("the first attempt fails")
				}
				return []byte(`"done"`), nil
			}}
			faults := faultstore.Hooks{Before: fail, After: faultstore.AfterSuccess(fail)}
			inBubbleOn(t, faults, settings{SchedulerOptions: SchedulerOptions{Workers: 8}}, func(w *world) {
				var acknowledged []store.Key
				for round := range 3 {
					got := map[store.Key]answers{}
					for range 20 {
						r := w.request("work", wire.ModeAsync)
						got[r.Key] = w.submit(r)
					}
					w.after(time.Second)
					for k, a := range got {
						if len(a) > 0 && a.one(w).Kind == Accepted {
							acknowledged = append(acknowledged, k)
						}
					}
					if round < 2 {
						w.kill()
						w.boot()
					}
				}
				random.Lock()
				random.quiet = true
				random.Unlock()
				w.after(2 * time.Hour)
				require.NotEmpty(w, acknowledged)
				for _, k := range acknowledged {
					ends := 0
					last := uint64(0)
					for _, e := range w.events(k) {
						require.Equal(w, last+1, e.First(), "no gap in %s", list(w.events(k)))
						last = e.Seq
						if e.Kind == store.Result || e.Kind == store.Error {
							ends++
						}
					}
					require.Equal(w, 1, ends, "one end: %s", list(w.events(k)))
				}
			}, work)
		})
	}
}

// Invariant 2: two attempts never both write. A worker that was cut off goes on, but
// what it reports after another has claimed its call is refused, and its
// context ends.
func TestInvariant02TwoAttemptsNeverBothWrite(t *testing.T) {
	cause := make(chan error, 1)
	act := &core.Action{Name: "work", Run: func(ctx context.Context, _ any, call *core.Call) ([]byte, error) {
		if call.Info.Attempt == 1 {
			time.Sleep(3 * time.Minute)                 // fake: cut off meanwhile
			call.Sink.Checkpoint(json.RawMessage(`99`)) // nothing but the fence stands against it
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return []byte(`"zombie"`), nil
		}
		chunk(call, 2)
		time.Sleep(10 * time.Minute) // fake: it runs while the other comes back
		return []byte(`"second"`), nil
	}}
	inBubble(t, settings{}, func(w *world) {
		r := w.request("work", wire.ModeAsync)
		require.Equal(w, Accepted, w.submit(r).one(w).Kind)
		first, link := *w, w.link
		link.cut.Store(true) // and so its lease runs out
		w.after(61 * time.Second)
		w.boot() // another process
		w.after(time.Second)
		require.Equal(w, `ack attempt2:worker_lost c2`, list(w.events(r.Key)))
		link.cut.Store(false)
		w.after(4 * time.Minute)
		require.Len(w, cause, 1, "the context of the first attempt has ended")
		require.ErrorIs(w, <-cause, core.ErrFenced)
		require.Equal(w, store.Running, w.state(r.Key).Status)
		w.after(10 * time.Minute)
		require.Equal(w, `ack attempt2:worker_lost c2 ok"second"`, list(w.events(r.Key)))
		first.stop()
	}, act)
}

// Invariant 3: one end. A result and a cancel race; whichever is written first is
// what everybody is told.
func TestInvariant03OneEnd(t *testing.T) {
	act := &core.Action{Name: "work", Run: func(ctx context.Context, _ any, _ *core.Call) ([]byte, error) {
		time.Sleep(10 * time.Second)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return []byte(`1`), nil
	}}
	for _, before := range []time.Duration{time.Nanosecond, 0, -time.Nanosecond} {
		inBubble(t, settings{}, func(w *world) {
			r := w.start("work")
			time.Sleep(10*time.Second - before)
			if err := w.cancel(r, "ann"); err != nil {
				require.ErrorIs(w, err, store.ErrEnded)
			}
			w.after(time.Minute)
			ends := w.box.of("c1", wire.TypeResult, wire.TypeError)
			require.Len(w, ends, 1)
			stored := w.events(r.Key)
			require.Equal(w, stored[len(stored)-1].Seq, ends[0].Seq)
			require.Equal(w, stored[len(stored)-1].Kind == store.Result, ends[0].Type == wire.TypeResult)
		}, act)
	}
}

// Invariant 4: same id, same call. It runs once, however often it is sent, and while
// it is running, over, or was inline.
func TestInvariant04SameIDSameCall(t *testing.T) {
	var runs counter
	act := &core.Action{Name: "work", Run: runs.of(sleeps(time.Second))}
	inBubble(t, settings{}, func(w *world) {
		r := w.request("work", wire.ModeAsync)
		require.Equal(w, Accepted, w.submit(r).one(w).Kind)
		require.Equal(w, Known, w.submit(r).one(w).Kind)
		w.after(time.Minute)
		got := w.submit(r).one(w)
		require.Equal(w, Known, got.Kind)
		require.Equal(w, store.Succeeded, got.State.Status)
		require.EqualValues(w, 1, runs.total.Load())

		other := *r
		other.Payload = []byte(`{"other":1}`)
		refused := w.submit(&other).one(w)
		require.Equal(w, Refused, refused.Kind)
		require.Equal(w, core.CodeConflict, refused.Err.Code)

		// A resend joins an inline run, and gets its answer, too.
		in := w.request("work", wire.ModeAuto)
		first, again := w.submit(in), w.submit(in)
		unknown := *in
		unknown.Subject = "bob"
		require.Equal(w, core.CodeConflict, w.submit(&unknown).one(w).Err.Code)
		w.after(2 * time.Second)
		require.Equal(w, `1`, string(first.one(w).End.Payload))
		require.Equal(w, `1`, string(again.one(w).End.Payload))
		require.EqualValues(w, 2, runs.total.Load())
	}, act)
}

// Invariant 6: three different verbs. A disconnect and a detach change nothing, a
// cancel stops the work; cancelAfter counts only while nobody follows.
func TestInvariant06ThreeVerbs(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		stays, unfollowed := w.start("work"), w.start("work", cancelAfter(time.Minute))
		require.Equal(w, store.Running, w.statusAfter(10*time.Minute, unfollowed.Key), "a connection follows")

		w.disconnect(c1) // disconnect
		w.after(59 * time.Second)
		w.follow(c1, unfollowed.ID)
		require.Equal(w, store.Running, w.statusAfter(10*time.Second, unfollowed.Key), "a connection came back in time")
		w.unfollow(c1, unfollowed.ID) // detach
		require.Equal(w, store.Cancelled, w.statusAfter(61*time.Second, unfollowed.Key))

		require.Equal(w, store.Running, w.state(stays.Key).Status)
		require.ErrorIs(w, w.cancel(stays, "bob"), store.ErrNotFound, "another subject's")
		require.NoError(w, w.cancel(stays, "ann"))
		synctest.Wait()
		require.Equal(w, store.Cancelled, w.state(stays.Key).Status)
	}, &core.Action{Name: "work", Run: untilDone})
}

// Invariant 7: poison is contained. A call that takes its worker down comes to be a
// dead letter; those that ran beside it do not.
func TestInvariant07CrashesAreContained(t *testing.T) {
	var deadly atomic.Pointer[world]
	kills := 0
	crashing := &core.Action{Name: "poison", Run: func(ctx context.Context, _ any, _ *core.Call) ([]byte, error) {
		time.Sleep(time.Second) // fake: whoever runs beside it has begun
		w := deadly.Load()
		w.link.closed.Store(true)
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	slow := &core.Action{Name: "slow", Run: takes(time.Minute)}
	inBubble(t, settings{Options: Options{MaxQuarantineCrashes: 3}}, func(w *world) {
		deadly.Store(w)
		var innocents []*Request
		for range 10 {
			innocents = append(innocents, w.start("slow"))
		}
		bad := w.start("poison")
		for range 2000 {
			w.after(time.Second)
			if w.link.closed.Load() {
				kills++
				w.kill()
				w.boot()
			}
		}
		w.after(24 * time.Hour)
		s := w.state(bad.Key)
		require.Equal(w, store.Failed, s.Status)
		require.Equal(w, core.CodePoisoned, s.Code)
		require.True(w, s.DeadLetter)
		require.Equal(w, store.QuarantineAfter+3, kills, "two deaths in company, three alone")
		for _, r := range innocents {
			require.Equal(w, store.Succeeded, w.state(r.Key).Status, "an innocent")
		}
		dead, _, err := w.store.DeadLetters(w.Context(), 10, "")
		require.NoError(w, err)
		require.Len(w, dead, 1)

		again, err := w.e.Retry(w.Context(), bad.Key, wire.NewID())
		require.NoError(w, err)
		require.Equal(w, bad.ID, again.RetryOf)
		_, err = w.e.Retry(w.Context(), innocents[0].Key, wire.NewID())
		require.ErrorIs(w, err, ErrNotDead)
		w.after(time.Second)
		w.kill()
		w.boot()
	}, crashing, slow)
}

// Invariant 8: progress is cheap. It is sent at once, then at most every 50 ms, the
// newest always, and before the end.
func TestInvariant08ProgressIsCheap(t *testing.T) {
	act := &core.Action{Name: "work", Run: does(func(call *core.Call) {
		for i := range 990 { // the last report falls between two tellings
			call.Sink.Progress(float64(i)/10, "")
			time.Sleep(time.Millisecond)
		}
		call.Sink.Progress(12, "falls") // percent does not
	})}
	inBubble(t, settings{}, func(w *world) {
		r := w.start("work")
		w.after(time.Minute)
		sent := w.box.of("c1", wire.TypeProgress)
		require.InDelta(w, 21, len(sent), 2)
		for i := 1; i < len(sent); i++ {
			require.Greater(w, sent[i].Rev, sent[i-1].Rev)
			require.GreaterOrEqual(w, *sent[i].Percent, *sent[i-1].Percent)
		}
		all := w.box.of("c1")
		require.Equal(w, wire.TypeResult, all[len(all)-1].Type)
		last := all[len(all)-2]
		require.Equal(w, wire.TypeProgress, last.Type)
		require.Equal(w, "falls", last.Message)
		require.InDelta(w, 98.9, *last.Percent, 0.001)
		stored := w.state(r.Key).Progress
		require.NotNil(w, stored)
		require.EqualValues(w, 991, stored.Rev, "stored with the end")
	}, act)
}

// Invariant 9: bounded everything. Emit waits for the store, and the queue in memory
// has an end without losing a call.
func TestInvariant09Bounded(t *testing.T) {
	var held atomic.Int64
	var open atomic.Bool
	act := &core.Action{Name: "flood", Run: does(func(call *core.Call) {
		for range 100_000 {
			chunk(call, 1)
			held.Add(1)
		}
	})}
	inBubbleOn(t, holds(faultstore.Record, &open), settings{}, func(w *world) {
		w.start("flood")
		require.LessOrEqual(w, held.Load(), int64(2*maxPendingEvents), "Emit waits: one Record under way, one to come")
		open.Store(true)
		w.after(time.Hour)
		require.EqualValues(w, 100_000, held.Load())
	}, act)

	inBubble(t, settings{SchedulerOptions: SchedulerOptions{Workers: 1, MaxHints: 32}}, func(w *world) {
		w.start("hold")
		var waiting []*Request
		for range 200 {
			waiting = append(waiting, w.start("quick"))
		}
		w.s.mu.Lock()
		require.LessOrEqual(w, w.s.schedule.len(), 32)
		w.s.mu.Unlock()
		w.after(time.Hour)
		for _, r := range waiting {
			require.Equal(w, store.Succeeded, w.state(r.Key).Status)
		}
	}, &core.Action{Name: "quick", Run: ok(`1`)}, &core.Action{Name: "hold", Run: sleeps(time.Minute)})
}

// Invariant 11: goodbye is part of the protocol. Handlers that end within the grace
// period do; the rest is queued again, and no retry is charged.
func TestInvariant11Shutdown(t *testing.T) {
	unresponsive := func(_ context.Context, _ any, call *core.Call) ([]byte, error) {
		if call.Info.Attempt == 1 {
			time.Sleep(time.Hour)
		}
		return []byte(strconv.Itoa(call.Info.Attempt)), nil
	}
	inBubble(t, settings{}, func(w *world) {
		short, long, ignores := w.start("short"), w.start("long"), w.start("unresponsive")
		inlineLong, answer := w.send("long", wire.ModeAuto)
		old := *w
		stopped := make(chan struct{})
		go func() {
			old.stopAfter(10 * time.Second)
			close(stopped)
		}()
		synctest.Wait()
		require.Equal(w, core.CodeUnavailable, w.submit(w.request("short", wire.ModeAsync)).one(w).Err.Code)
		require.Equal(w, core.CodeUnavailable, w.submit(w.request("short", wire.ModeAuto)).one(w).Err.Code)
		<-stopped
		require.Equal(w, store.Succeeded, w.state(short.Key).Status)
		require.Equal(w, Accepted, answer.one(w).Kind, "promoted at its threshold")
		for _, r := range []*Request{long, ignores, inlineLong} {
			s := w.state(r.Key)
			require.Equal(w, store.Queued, s.Status, r.Action.Name)
			require.Equal(w, core.CodeShutdown, s.Code)
			require.Zero(w, s.Failures)
			require.Zero(w, s.CrashCount)
		}
		w.boot()
		w.after(2 * time.Hour)
		require.Equal(w, `ack attempt2:shutdown ok1`, list(w.events(long.Key)))
		require.Equal(w, `ack attempt2:shutdown ok1`, list(w.events(inlineLong.Key)))
		require.Equal(w, `ack attempt2:shutdown ok2`, list(w.events(ignores.Key)), "from the second attempt")
	},
		&core.Action{Name: "short", Run: takes(5 * time.Second)}, &core.Action{Name: "long", Run: takes(time.Minute)},
		&core.Action{Name: "unresponsive", Run: unresponsive})
}

// Invariant 12: queues carry hints, the store is the truth. A hint that is lost, or
// doubled, changes latency only.
func TestInvariant12QueuesCarryHints(t *testing.T) {
	var runs counter
	inBubble(t, settings{}, func(w *world) {
		r := w.start("work", delay(10*time.Second))
		w.forget(r.Key) // lost
		w.after(20 * time.Second)
		require.Zero(w, runs.total.Load())
		w.after(time.Minute)
		require.EqualValues(w, 1, runs.total.Load(), "the sweeper found it")

		s := w.state(r.Key)
		hint := s.Hint()
		hint.Due = time.Now()
		w.s.Enqueue(hint, hint) // doubled, and late
		synctest.Wait()
		require.EqualValues(w, 1, runs.total.Load())
	}, &core.Action{Name: "work", Run: runs.of(ok(`1`))})
}

// Invariant 13: a hint is released only after publishing. Run with the hint for a
// call that has ended publishes its end again.
func TestInvariant13PublishedBeforeRelease(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.start("work")
		s := w.state(r.Key)
		require.Equal(w, store.Succeeded, s.Status)
		w.follow(c2, r.ID)
		w.s.Enqueue(store.Hint{Key: r.Key, Due: time.Now(), Status: store.Running, Deadline: s.Deadline})
		synctest.Wait()
		sent := w.box.of("c2", wire.TypeResult)
		require.Len(w, sent, 1)
		require.Equal(w, s.LastSeq, sent[0].Seq)
	}, &core.Action{Name: "work", Run: ok(`1`)})
}

// Invariant 14: body first, then one fenced write. No event is published before
// Record has returned, and a repeated Record repeats the same segment.
func TestInvariant14PublishFollowsRecord(t *testing.T) {
	var open atomic.Bool
	faults := faultstore.Hooks{Before: holds(faultstore.Record, &open).Before, After: losesReply(faultstore.Record).After}
	act := &core.Action{Name: "work", Run: does(func(call *core.Call) {
		chunk(call, 1)
		time.Sleep(time.Second)
		chunk(call, 2)
		time.Sleep(time.Second)
	})}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		r := w.start("work")
		w.after(500 * time.Millisecond)
		require.Empty(w, w.box.of("c1", wire.TypeChunk))
		open.Store(true)
		w.after(time.Minute)
		require.Equal(w, `ack c1 c2 ok1`, list(w.events(r.Key)))
		sent := w.box.of("c1", wire.TypeChunk, wire.TypeResult)
		require.Len(w, sent, 3)
		for i, m := range sent {
			require.EqualValues(w, i+2, m.Seq)
		}
	}, act)
}
