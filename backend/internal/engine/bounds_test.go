package engine

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/stretchr/testify/require"
)

// Invariant 9: large chunks are bounded by their bytes while the store takes none.
func TestInvariant09LargeChunksAreBounded(t *testing.T) {
	const size = 60 << 10
	var open atomic.Bool
	var emitted atomic.Int64
	closed := func() bool { return !open.Load() }
	inBubbleOn(t, fails(faultstore.Record, closed), settings{}, func(w *world) {
		r := w.start("flood")
		w.after(10 * time.Second)
		require.LessOrEqual(w, emitted.Load()*size, int64(2*maxPendingBytes), "one Record under way, one to come")
		open.Store(true)
		w.after(time.Minute)
		require.Equal(w, store.Succeeded, w.state(r.Key).Status)
		require.Len(w, w.events(r.Key), 102)
	}, &core.Action{Name: "flood", Run: func(_ context.Context, _ any, call *core.Call) ([]byte, error) {
		data := json.RawMessage(`"` + strings.Repeat("x", size-2) + `"`)
		for range 100 {
			call.Sink.Emit(data)
			emitted.Add(1)
		}
		return []byte(`1`), nil
	}})
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

// Invariant 9: however many calls lose their last subscriber at once, and are
// cancelled for it, the writes at a time are bounded.
func TestInvariant09WritesOfManyCallsAreBounded(t *testing.T) {
	const calls = 4 * finishers
	var writes counter
	count := func(op faultstore.Op, _ store.Key) error {
		if op == faultstore.Watch || op == faultstore.CancelUnsubscribed {
			defer writes.begin()()
			time.Sleep(time.Millisecond) // fake
		}
		return nil
	}
	inBubbleOn(t, faultstore.Hooks{Before: count}, noSweep, func(w *world) {
		var keys []store.Key
		for range calls {
			keys = append(keys, w.start("quick", cancelAfter(time.Minute), delay(10*time.Hour)).Key)
		}
		w.disconnect(c1)
		w.after(time.Second)
		require.Equal(w, watchers, writes.most)
		writes.most = 0
		for _, k := range keys {
			w.forget(k)
		}
		w.after(2 * time.Minute)
		_, err := w.e.Sweep(w.Context(), w.s.shards, time.Now(), calls)
		require.NoError(w, err)
		require.Equal(w, finishers, writes.most)
		for _, k := range keys {
			require.Equal(w, store.Cancelled, w.state(k).Status)
		}
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}
