package session

import (
	"context"
	"testing"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/stretchr/testify/require"
)

// Invariant 5: another subject of the tenant follows and cancels a call only if
// the router's rule allows that verb; otherwise the answer is that of an unknown id.
func TestInvariant05AuthorizeDecidesEachVerb(t *testing.T) {
	w := newStream(t)
	var allowed core.Verb
	w.session.Registry.Authorize = func(_ context.Context, a core.Access) bool { return a.Verb == allowed }
	bob := newInfo()
	bob.Identity.Subject = "bob"
	send := func(kind, id string) string {
		return ask(t, w.session, bob, `{"type":"%s","ref":"r","id":"%s"}`, kind, id).Type
	}
	allowed = core.Follow
	require.Equal(t, wire.TypeSnapshot, send("subscribe", w.state.ID))
	require.Equal(t, send("cancel", wire.NewIDAt(now)), send("cancel", w.state.ID))
	require.False(t, w.cancelRequested())
	allowed = core.Cancel
	require.Equal(t, send("subscribe", wire.NewIDAt(now)), send("subscribe", w.state.ID))
	require.Equal(t, wire.TypeOK, send("cancel", w.state.ID))
	require.True(t, w.cancelRequested())
}

// Invariant 6: an unsubscribe does not cancel.
func TestInvariant06UnsubscribeDoesNotCancel(t *testing.T) {
	w := newStream(t)
	w.subscribe(0)
	require.Equal(t, wire.TypeOK, ask(t, w.session, newInfo(), `{"type":"unsubscribe","ref":"r","id":"%s"}`, w.state.ID).Type)
	require.False(t, w.cancelRequested())
	require.False(t, w.session.Notifier.HasSubscribers(t.Context(), w.state.Key))
}
