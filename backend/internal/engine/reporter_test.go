package engine

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/stretchr/testify/require"
)

// Invariant 14: a Record that is repeated because its reply was lost repeats the
// same segment, although further chunks wait by then.
func TestInvariant14RepeatedRecordIsTheSame(t *testing.T) {
	inBubbleOn(t, losesReply(faultstore.Record), settings{}, func(w *world) {
		r := w.start("work")
		w.after(2 * time.Second)
		require.Equal(w, `ack c1 c2 ok1`, list(w.events(r.Key)))
	}, &core.Action{Name: "work", Run: does(func(call *core.Call) {
		chunk(call, 1)
		time.Sleep(time.Millisecond) // fake: the reply is lost meanwhile
		chunk(call, 2)
		time.Sleep(time.Second) // fake
	})})
}

// Invariant 14: a running call learns from Record that another process has
// cancelled it.
func TestInvariant14RecordReturnsTheCancel(t *testing.T) {
	inBubble(t, settings{Options: Options{CancelPoll: time.Hour}}, func(w *world) {
		r := w.start("emits")
		_, err := w.store.Cancel(w.Context(), r.Key, "ann")
		require.NoError(w, err)
		require.Equal(w, store.Cancelled, w.statusAfter(2*time.Second, r.Key))
	}, &core.Action{Name: "emits", Run: func(ctx context.Context, _ any, call *core.Call) ([]byte, error) {
		for i := 0; ctx.Err() == nil && i < 1000; i++ {
			chunk(call, i)
			time.Sleep(time.Second) // fake
		}
		return nil, ctx.Err()
	}})
}

// Invariant 8: progress alone costs no write. It is stored with the next chunk,
// or with the end.
func TestInvariant08ProgressCostsNoWrite(t *testing.T) {
	var records atomic.Int32
	inBubbleOn(t, before(faultstore.Record, func() error {
		records.Add(1)
		return nil
	}), settings{}, func(w *world) {
		r := w.start("work")
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
	}, &core.Action{Name: "work", Run: does(func(call *core.Call) {
		for i := range 50 {
			call.Sink.Progress(float64(i), "")
			time.Sleep(100 * time.Millisecond) // fake
		}
		time.Sleep(500 * time.Millisecond) // fake
		chunk(call, 1)
		time.Sleep(5 * time.Second) // fake
		call.Sink.Progress(99, "")
	})})
}

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
		require.Equal(w, store.Succeeded, w.statusAfter(time.Minute, r.Key))
		require.Len(w, w.events(r.Key), 102)
	}, &core.Action{Name: "flood", Run: does(func(call *core.Call) {
		data := json.RawMessage(`"` + strings.Repeat("x", size-2) + `"`)
		for range 100 {
			call.Sink.Emit(data)
			emitted.Add(1)
		}
	})})
}
