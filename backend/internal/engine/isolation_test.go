package engine

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// Invariant 5: a cancel by another subject, or in another tenant, does not reach a
// call that runs inline.
func TestInvariant05CancelOfAnotherSubjectsInlineCall(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.request("work", wire.ModeAuto)
		got := w.submit(r)
		_, err := w.e.Cancel(w.Context(), r.Key, "bob")
		require.ErrorIs(w, err, store.ErrNotFound)
		_, err = w.e.Cancel(w.Context(), store.Key{Tenant: "evil", ID: r.ID}, "ann")
		require.ErrorIs(w, err, store.ErrNotFound)
		w.after(time.Minute)
		require.Equal(w, store.Succeeded, got.one(w).End.Status)
	}, &core.Action{Name: "work", Run: takes(time.Second)})
}
