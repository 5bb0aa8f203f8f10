package engine

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/stretchr/testify/require"
)

// Invariant 3: an end is stored before it is published. While the store does not
// answer, nothing is published; what could not be stored at all never is.
func TestInvariant03PublishedWhenStored(t *testing.T) {
	var open atomic.Bool
	closed := func() bool { return !open.Load() }
	inBubbleOn(t, fails(faultstore.Finish, closed), settings{}, func(w *world) {
		r, got := w.send("work", wire.ModeAsync)
		require.Equal(w, Accepted, got.one(w).Kind)
		require.Equal(w, store.Running, w.statusAfter(3*time.Second, r.Key))
		require.Empty(w, w.box.of("c1", wire.TypeResult, wire.TypeError), "sent, and not stored")
		open.Store(true)
		w.after(time.Minute)
		require.Len(w, w.box.of("c1", wire.TypeResult, wire.TypeError), 1)
	}, &core.Action{Name: "work", Run: ok(`1`)})
}

// Invariant 3: the end of an attempt that has lost its claim is not published.
func TestInvariant03EndOfLostClaimIsNotPublished(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.start("work")
		_, err := w.store.Finish(w.Context(), store.Fence{Key: r.Key, Fence: 1}, store.Outcome{Due: time.Now().Add(24 * time.Hour)})
		require.NoError(w, err)
		require.Equal(w, store.Queued, w.statusAfter(time.Minute, r.Key))
		require.Empty(w, w.box.of("c1", wire.TypeResult, wire.TypeError))
	}, &core.Action{Name: "work", Run: takes(10 * time.Second)})
}

// Invariant 3: a running call that is cancelled has ended when its handler has
// returned, not before.
func TestInvariant03CancelIsNotAnEnd(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.start("returns late")
		require.NoError(w, w.cancel(r, "ann"))
		w.after(time.Second)
		require.Empty(w, w.box.of("c1", wire.TypeError))
		w.after(time.Minute)
		sent := w.box.of("c1", wire.TypeError)
		require.Len(w, sent, 1)
		require.Equal(w, w.state(r.Key).LastSeq, sent[0].Seq)
	}, &core.Action{Name: "returns late", Run: lateBy(5 * time.Second)})
}

// Invariant 3: an inline call that was answered is not stored later, although its
// handler still runs and emits.
func TestInvariant03AnsweredInlineCallIsNotStored(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r, got := w.send("unresponsive", wire.ModeAuto)
		w.after(time.Minute)
		require.Equal(w, core.CodeTimeout, got.one(w).End.Code)
		w.after(2 * time.Hour)
		got.one(w)
		_, _, err := w.store.Read(w.Context(), r.Key, 0, 0)
		require.ErrorIs(w, err, store.ErrNotFound)
	}, &core.Action{Name: "unresponsive", Timeout: time.Second, Run: does(func(call *core.Call) {
		time.Sleep(time.Hour) // fake
		chunk(call, 1)
	})})
}

// Invariant 4: a call that was stored does not run inline when it is sent again.
func TestInvariant04StoredCallDoesNotRunInline(t *testing.T) {
	var runs counter
	inBubble(t, settings{}, func(w *world) {
		r := w.start("work")
		w.after(time.Second)
		_, again := w.send("work", wire.ModeAuto, sameID(r))
		require.Equal(w, Known, again.one(w).Kind)
		require.EqualValues(w, 1, runs.total.Load())
	}, &core.Action{Name: "work", Run: runs.of(ok(`1`))})
}

// Invariant 4: a call that runs inline is not stored for a run of its own when it
// is sent again, to be stored at once.
func TestInvariant04InlineCallIsNotStoredBesideItsRun(t *testing.T) {
	var runs counter
	inBubble(t, settings{}, func(w *world) {
		r, first := w.send("work", wire.ModeAuto)
		_, second := w.send("work", wire.ModeAsync, sameID(r))
		w.after(time.Minute)
		require.Equal(w, Ended, first.one(w).Kind)
		require.Equal(w, Ended, second.one(w).Kind)
		require.EqualValues(w, 1, runs.total.Load())
	}, &core.Action{Name: "work", Run: runs.of(sleeps(time.Second))})
}

// Invariant 13: the end of a call that no handler ran is published before its hint
// is released.
func TestInvariant13EndWithoutRunIsPublished(t *testing.T) {
	inBubble(t, oneWorker, func(w *world) {
		w.start("slow")
		r := w.start("slow", timeout(30*time.Second))
		w.after(31 * time.Second)
		sent := w.box.of("c1", wire.TypeError)
		require.Len(w, sent, 1)
		require.Equal(w, r.ID, sent[0].ID)
		require.Equal(w, w.state(r.Key).LastSeq, sent[0].Seq)
	}, &core.Action{Name: "slow", Run: takes(time.Minute)})
}

// Invariant 13: a promotion that meets a cancel, which another process has
// remembered meanwhile, publishes the end.
func TestInvariant13PromotionThatMeetsACancelPublishes(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r, _ := w.send("work", wire.ModeAuto)
		_, err := w.store.Cancel(w.Context(), r.Key, "ann")
		require.ErrorIs(w, err, store.ErrNotFound)
		require.Equal(w, store.Cancelled, w.statusAfter(time.Minute, r.Key))
		got := w.box.of("c1", wire.TypeError)
		require.Len(w, got, 1)
		require.Equal(w, core.CodeCancelled, got[0].Code)
	}, &core.Action{Name: "work", Run: untilDone})
}
