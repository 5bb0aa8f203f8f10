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
		got := &replies{}
		cmd := w.session.Decode(bob, []byte(`{"type":"`+kind+`","ref":"r","id":"`+id+`"}`), now)[0]
		w.session.Handle(t.Context(), bob, cmd, got)
		require.Len(t, got.types, 1)
		return got.types[0]
	}
	cancelled := func() bool {
		s, _, err := w.queue.Read(t.Context(), w.state.Key, 0, 0)
		require.NoError(t, err)
		return s.CancelRequested
	}
	allowed = core.Follow
	require.Equal(t, wire.TypeSnapshot, send("subscribe", w.state.ID))
	require.Equal(t, send("cancel", wire.NewIDAt(now)), send("cancel", w.state.ID))
	require.False(t, cancelled())
	allowed = core.Cancel
	require.Equal(t, send("subscribe", wire.NewIDAt(now)), send("subscribe", w.state.ID))
	require.Equal(t, wire.TypeOK, send("cancel", w.state.ID))
	require.True(t, cancelled())
}

// Invariant 6: an unsubscribe does not cancel.
func TestInvariant06UnsubscribeDoesNotCancel(t *testing.T) {
	w := newStream(t)
	w.subscribe(0)
	c, got := newInfo(), &replies{}
	cmd := w.session.Decode(c, []byte(`{"type":"unsubscribe","ref":"r","id":"`+w.state.ID+`"}`), now)[0]
	w.session.Handle(t.Context(), c, cmd, got)
	require.Equal(t, []string{wire.TypeOK}, got.types)
	s, _, err := w.queue.Read(t.Context(), w.state.Key, 0, 0)
	require.NoError(t, err)
	require.False(t, s.CancelRequested)
	require.False(t, w.session.Notifier.HasSubscribers(t.Context(), w.state.Key))
}
