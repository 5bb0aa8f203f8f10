package engine

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/stretchr/testify/require"
)

// Invariant 6: the store knows whether a connection follows a call with
// CancelAfter, because the time without one goes on across restarts.
func TestInvariant06StoreKnowsWhetherACallIsFollowed(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		after := time.Hour
		r := w.request("work", wire.ModeAsync)
		r.CancelAfter = &after
		w.submit(r)
		require.True(w, w.state(r.Key).UnsubscribedAt.IsZero())
		for range 2 {
			w.disconnect(deliver.Address{Tenant: "acme", Connection: "c1"})
			require.Equal(w, time.Now().UnixMilli(), w.state(r.Key).UnsubscribedAt.UnixMilli())
			w.after(time.Minute)
			w.follow(deliver.Address{Tenant: "acme", Connection: "c1"}, r.ID)
			require.True(w, w.state(r.Key).UnsubscribedAt.IsZero())
		}
	}, &core.Action{Name: "work", Run: untilDone})
}
