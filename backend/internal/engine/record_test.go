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

// Invariant 14: a Record that is repeated because its reply was lost repeats the
// same segment, although further chunks wait by then.
func TestInvariant14RepeatedRecordIsTheSame(t *testing.T) {
	var lost atomic.Bool
	faults := faultstore.Hooks{After: faultstore.AfterSuccess(func(op faultstore.Op, _ store.Key) error {
		if op == faultstore.Record && !lost.Swap(true) {
			return store.ErrUnavailable
		}
		return nil
	})}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		r := w.request("work", wire.ModeAsync)
		w.submit(r)
		w.after(2 * time.Second)
		require.True(w, lost.Load())
		require.Equal(w, `ack c1 c2 ok1`, list(w.events(r.Key)))
	}, &core.Action{Name: "work", Run: func(_ context.Context, _ any, call *core.Call) ([]byte, error) {
		chunk(call, 1)
		time.Sleep(time.Millisecond) // fake: the reply is lost meanwhile
		chunk(call, 2)
		time.Sleep(time.Second) // fake
		return []byte(`1`), nil
	}})
}

// Invariant 14: a running call learns from Record that another process has
// cancelled it.
func TestInvariant14RecordReturnsTheCancel(t *testing.T) {
	inBubble(t, settings{Options: Options{CancelPoll: time.Hour}}, func(w *world) {
		r := w.request("emits", wire.ModeAsync)
		w.submit(r)
		_, err := w.store.Cancel(w.Context(), r.Key, "ann")
		require.NoError(w, err)
		w.after(2 * time.Second)
		require.Equal(w, store.Cancelled, w.state(r.Key).Status)
	}, &core.Action{Name: "emits", Run: func(ctx context.Context, _ any, call *core.Call) ([]byte, error) {
		for i := 0; ctx.Err() == nil && i < 1000; i++ {
			chunk(call, i)
			time.Sleep(time.Second) // fake
		}
		return nil, ctx.Err()
	}})
}
