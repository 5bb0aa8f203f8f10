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

// Invariant 3: an end is stored before anyone is told of it. While the store does
// not answer, nobody hears anything; what could not be stored at all is never
// told.
func TestInvariant03PublishedWhenStored(t *testing.T) {
	var open atomic.Bool
	faults := faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		if op == faultstore.Finish && !open.Load() {
			return store.ErrUnavailable
		}
		return nil
	}}
	act := &core.Action{Name: "work", Run: func(context.Context, any, *core.Call) ([]byte, error) { return []byte(`1`), nil }}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		r := w.request("work", wire.ModeAsync)
		require.Equal(w, Accepted, w.submit(r).one(w).Kind)
		w.after(3 * time.Second)
		require.Empty(w, w.box.of("c1", wire.TypeResult, wire.TypeError), "sent, and not stored")
		require.Equal(w, store.Running, w.state(r.Key).Status)
		open.Store(true)
		w.after(time.Minute)
		require.Len(w, w.box.of("c1", wire.TypeResult, wire.TypeError), 1)
	}, act)
}
