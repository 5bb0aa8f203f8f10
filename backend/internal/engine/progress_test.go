package engine

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/stretchr/testify/require"
)

// Invariant 8: progress alone costs no write. It is stored with the next chunk,
// or with the end.
func TestInvariant08ProgressCostsNoWrite(t *testing.T) {
	var records atomic.Int32
	faults := faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		if op == faultstore.Record {
			records.Add(1)
		}
		return nil
	}}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		r := w.request("work", wire.ModeAsync)
		w.submit(r)
		w.after(5 * time.Second)
		require.Zero(w, records.Load())
		w.after(time.Second) // the chunk
		require.EqualValues(w, 1, records.Load())
		stored := w.state(r.Key).Progress
		require.NotNil(w, stored, "stored with the chunk")
		require.EqualValues(w, 50, stored.Rev)
		w.after(10 * time.Second)
		require.EqualValues(w, 1, records.Load())
		require.Equal(w, store.Succeeded, w.state(r.Key).Status)
		require.EqualValues(w, 51, w.state(r.Key).Progress.Rev)
	}, &core.Action{Name: "work", Run: func(_ context.Context, _ any, call *core.Call) ([]byte, error) {
		for i := range 50 {
			call.Sink.Progress(float64(i), "")
			time.Sleep(100 * time.Millisecond) // fake
		}
		time.Sleep(500 * time.Millisecond) // fake
		chunk(call, 1)
		time.Sleep(5 * time.Second) // fake
		call.Sink.Progress(99, "")
		return []byte(`1`), nil
	}})
}
