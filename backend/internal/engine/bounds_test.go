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
	faults := faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		if op == faultstore.Record && !open.Load() {
			return store.ErrUnavailable
		}
		return nil
	}}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		r := w.request("flood", wire.ModeAsync)
		w.submit(r)
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
