package engine

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestInlineLeavesNoTrace(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r, got := w.send("quick", wire.ModeAuto)
		w.after(5 * time.Second)
		require.Equal(w, Ended, got.one(w).Kind)
		_, _, err := w.store.Read(w.Context(), r.Key, 0, 0)
		require.ErrorIs(w, err, store.ErrNotFound)
		require.Empty(w, w.box.of("c1"))
	}, &core.Action{Name: "quick", Run: takes(4999 * time.Millisecond)})
}

// An inline call that overruns its threshold is stored as running, and goes on
// where it is; its progress so far is kept.
func TestPromotion(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r, got := w.send("slow", wire.ModeAuto)
		joined := w.submit(r)
		w.after(4 * time.Second)
		require.Empty(w, got)
		w.after(time.Second)
		for _, a := range []answers{got, joined} {
			require.Equal(w, Accepted, a.one(w).Kind)
		}
		s := w.state(r.Key)
		require.Equal(w, store.Running, s.Status)
		require.Equal(w, "begun", s.Progress.Message)
		require.Len(w, w.box.of("c1", wire.TypeProgress), 1)
		w.after(time.Minute)
		require.Equal(w, `ack ok1`, list(w.events(r.Key)))
		require.Equal(w, 1, w.state(r.Key).Attempt)
	}, &core.Action{Name: "slow", Run: takes(10 * time.Second)})
}

func TestWhatPromotes(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		for _, name := range []string{"emits", "checkpoints", "fails", "continues"} {
			r, got := w.send(name, wire.ModeAuto)
			require.Equal(w, store.Succeeded, w.statusAfter(time.Minute, r.Key), name)
			require.Equal(w, Accepted, got.one(w).Kind, name)
		}
		// Of mode sync nothing is ever stored.
		r := w.request("fails", wire.ModeSync)
		require.Equal(w, core.CodeInternal, w.submit(r).one(w).End.Code)
	},
		&core.Action{Name: "emits", Run: does(func(call *core.Call) { chunk(call, 1) })},
		&core.Action{Name: "checkpoints", Run: does(func(call *core.Call) { call.Sink.Checkpoint(json.RawMessage(`1`)) })},
		&core.Action{Name: "fails", Retries: 1, Run: firstReturns(errors.New("first"))},
		&core.Action{Name: "continues", Run: firstReturns(&core.ContinueError{After: time.Second})})
}

// An inline call that cannot be stored ends, and its caller may send it again.
func TestPromotionRefused(t *testing.T) {
	always := func() bool { return true }
	inBubbleOn(t, fails(faultstore.Accept, always), settings{}, func(w *world) {
		got := w.submit(w.request("slow", wire.ModeAuto))
		w.after(time.Minute)
		a := got.one(w)
		require.Equal(w, core.CodeUnavailable, a.Err.Code)
		require.False(w, a.Final)
		require.True(w, w.e.calls.idle())
	}, &core.Action{Name: "slow", Run: takes(time.Hour)})
}

// Another process has stored the same id meanwhile.
func TestPromotionSuperseded(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r, got := w.send("slow", wire.ModeAuto)
		w.accept(r)
		w.after(6 * time.Second)
		a := got.one(w)
		require.Equal(w, core.CodeSuperseded, a.Err.Code)
		require.False(w, a.Final)
	}, &core.Action{Name: "slow", Run: takes(time.Minute)})
}

func TestSyncEndsInTime(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		got := w.submit(w.request("slow", wire.ModeSync))
		w.after(core.SyncTimeout - time.Second)
		require.Empty(w, got)
		w.after(time.Second)
		require.Equal(w, core.CodeTimeout, got.one(w).End.Code)
	}, &core.Action{Name: "slow", Run: takes(time.Hour)})
}

// A cancel reaches a call wherever it is: queued, running, inline, on its way
// into the store, or not there yet.
func TestCancelEverywhere(t *testing.T) {
	inBubble(t, oneWorker, func(w *world) {
		running, queued := w.start("slow"), w.start("slow")
		in, answer := w.send("slow", wire.ModeAuto)
		early := w.request("slow", wire.ModeAsync)
		for _, r := range []*Request{queued, running, in} {
			require.NoError(w, w.cancel(r, "ann"))
		}
		require.ErrorIs(w, w.cancel(early, "ann"), store.ErrNotFound)
		require.Equal(w, Accepted, w.submit(early).one(w).Kind)
		for _, r := range []*Request{queued, running, early} {
			require.Equal(w, `ack error:cancelled`, list(w.events(r.Key)))
		}
		require.Equal(w, core.CodeCancelled, answer.one(w).End.Code)
		require.ErrorIs(w, w.cancel(queued, "ann"), store.ErrEnded)
		require.Len(w, w.box.of("c1", wire.TypeError), 3)
	}, &core.Action{Name: "slow", Run: takes(time.Hour)})
}

// Deadlines end calls while they wait for a time, for a worker, and while they
// run; an attempt's timeout charges a retry.
func TestDeadlines(t *testing.T) {
	inBubble(t, oneWorker, func(w *world) {
		runs, waits := w.start("slow", timeout(time.Minute)), w.start("slow", timeout(30*time.Second))
		w.after(31 * time.Second)
		require.Equal(w, core.CodeDeadlineExceeded, w.state(waits.Key).Code)
		require.Zero(w, w.state(waits.Key).Attempt, "it never ran")
		w.after(30 * time.Second)
		require.Equal(w, core.CodeDeadlineExceeded, w.state(runs.Key).Code)

		often := w.start("limited")
		w.after(time.Minute)
		s := w.state(often.Key)
		require.Equal(w, core.CodeTimeout, s.Code)
		require.Equal(w, 3, s.Attempt)
		require.True(w, s.DeadLetter)
	}, &core.Action{Name: "slow", Run: takes(time.Hour)},
		&core.Action{Name: "limited", Timeout: time.Second, Retries: 2, Backoff: core.Backoff{Base: time.Second}, Run: takes(time.Hour)})
}

func TestDelay(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r, got := w.send("quick", wire.ModeAuto, delay(time.Hour))
		require.Equal(w, Accepted, got.one(w).Kind)
		require.Equal(w, store.Queued, w.statusAfter(time.Hour-time.Millisecond, r.Key))
		require.Equal(w, store.Succeeded, w.statusAfter(time.Millisecond, r.Key))
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}

// A handler that ignores its context's end is given up after a while; its
// worker is free again, and what it says later counts for nothing.
func TestUnresponsiveHandlers(t *testing.T) {
	unresponsive := func(_ context.Context, _ any, call *core.Call) ([]byte, error) {
		time.Sleep(time.Hour)
		chunk(call, 1)
		return []byte(`"late"`), nil
	}
	inBubble(t, oneWorker, func(w *world) {
		r, next := w.start("unresponsive"), w.start("quick")
		require.NoError(w, w.cancel(r, "ann"))
		require.Equal(w, store.Running, w.statusAfter(9*time.Second, r.Key))
		require.Equal(w, store.Cancelled, w.statusAfter(2*time.Second, r.Key))
		require.Equal(w, store.Succeeded, w.state(next.Key).Status)
		w.after(2 * time.Hour)
		require.Equal(w, `ack error:cancelled`, list(w.events(r.Key)))
		w.requireIdle()
	}, &core.Action{Name: "unresponsive", Run: unresponsive}, &core.Action{Name: "quick", Run: ok(`1`)})
}

// However many handlers ignore the end of their context, at most twice as many
// handlers run as there are workers.
func TestUnresponsiveHandlersAreBounded(t *testing.T) {
	var runs counter
	inBubble(t, oneWorker, func(w *world) {
		for range 5 {
			w.start("unresponsive")
			w.after(time.Minute)
		}
		require.EqualValues(w, 2, runs.now.Load())
		w.after(5 * time.Hour)
		require.Zero(w, runs.now.Load())
		require.EqualValues(w, 2, runs.most.Load())
	}, &core.Action{Name: "unresponsive", Timeout: 5 * time.Second, Run: runs.of(sleeps(time.Hour))})
}

// A retry keeps what a checkpoint has made certain, and resumes from it.
func TestCheckpoints(t *testing.T) {
	act := &core.Action{Name: "stages", Retries: 5, Run: func(_ context.Context, _ any, call *core.Call) ([]byte, error) {
		switch call.Info.Attempt {
		case 1:
			chunk(call, 1)
			call.Sink.Checkpoint(json.RawMessage(`"one"`))
			chunk(call, 2)
			return nil, errors.New("once")
		case 2:
			assert.Equal(t, `"one"`, string(call.Checkpoint))
			return nil, errors.New("twice, before it did anything")
		case 3:
			chunk(call, 2)
			call.Sink.Checkpoint(json.RawMessage(`"two"`))
			return nil, &core.ContinueError{}
		}
		assert.Equal(t, `"two"`, string(call.Checkpoint))
		chunk(call, 3)
		return []byte(`1`), nil
	}}
	inBubble(t, settings{}, func(w *world) {
		r := w.start("stages")
		w.after(time.Hour)
		require.Equal(w, `ack c1 attempt3:internal c2 attempt4:continue c3 ok1`, list(w.events(r.Key)))
		marks := w.box.of("c1", wire.TypeAttempt)
		require.Len(w, marks, 3, "each was told when it was made")
		require.EqualValues(w, 2, marks[0].Keep)
		require.EqualValues(w, 3, marks[0].From)
		require.EqualValues(w, 2, marks[1].Keep)
		require.Equal(w, 2, w.state(r.Key).Failures, "a Continue charges nothing")
	}, act)
}

// Fail ends the attempt for good, whatever the handler returns.
func TestFailIsFinal(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.start("bad")
		require.Equal(w, `ack error:chunk_too_large`, list(w.events(r.Key)))
	}, &core.Action{Name: "bad", Retries: 3, Run: func(ctx context.Context, _ any, call *core.Call) ([]byte, error) {
		call.Sink.Fail(&core.Error{Code: core.CodeChunkTooLarge, Message: "a chunk is at most 64 KiB"})
		<-ctx.Done()
		return []byte(`1`), nil
	}})
}

// The reply to an Accept with a claim is lost: the engine must find the call itself,
// because no lease expires on a store with one owner.
func TestAcceptWhoseReplyWasLost(t *testing.T) {
	inBubbleOn(t, losesReply(faultstore.Accept), settings{}, func(w *world) {
		w.e.Lease = 0 // as on a store with one owner
		r := w.request("quick", wire.ModeAsync)
		require.Equal(w, core.CodeUnavailable, w.submit(r).one(w).Err.Code)
		w.after(time.Second)
		require.Equal(w, Known, w.submit(r).one(w).Kind)
		require.Equal(w, store.Succeeded, w.state(r.Key).Status)
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}

// A stored call whose action is gone waits for a version that has it.
func TestActionWithoutHandler(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.start("old", delay(time.Minute))
		with := w.reg
		w.stop()
		w.reg = &core.Registry{}
		w.boot()
		require.Equal(w, store.Queued, w.statusAfter(10*time.Minute, r.Key))
		w.stop()
		w.reg = with
		w.boot()
		require.Equal(w, store.Succeeded, w.statusAfter(2*time.Minute, r.Key))
	}, &core.Action{Name: "old", Run: ok(`1`)})
}
