package engine

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/stretchr/testify/require"
)

// Another connection cancels a queued call, and sends its request again, before the
// first is acknowledged: the end is sent after that, once.
func TestCancelledEndFollowsTheAcknowledgement(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.request("later", wire.ModeAsync)
		r.Delay = time.Hour
		w.handle(r, func(a Answer) {
			require.Equal(w, Accepted, a.Kind)
			_, err := w.e.Cancel(w.Context(), r.Key, "ann")
			require.NoError(w, err)
			again := *r
			w.handle(&again, func(a Answer) { require.Equal(w, Known, a.Kind) })
			require.Empty(w, w.box.of("c1"), "nothing is sent before the acknowledgement")
		})
		require.Len(w, w.box.of("c1", wire.TypeError), 1)
	}, &core.Action{Name: "later", Run: ok(`1`)})
}
