package session

import (
	"testing"

	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/engine"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/stretchr/testify/require"
)

// replies is a Replier that keeps the types of all answers.
type replies struct{ types []string }

func (r *replies) Reply(_ *Command, m wire.ServerMessage) { r.types = append(r.types, m.Type) }

// Invariant 1: a stored call is acknowledged after the store has accepted it, and
// not if it could not.
func TestInvariant01AckFollowsAccept(t *testing.T) {
	got, full := &replies{}, true
	s := newSession()
	s.Store = faultstore.New(memory.New(nil), faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		if op != faultstore.Accept {
			return nil
		}
		require.Empty(t, got.types)
		if full {
			return store.ErrUnavailable
		}
		return nil
	}})
	s.Notifier = deliver.New(nil, s.Logger)
	s.Engine = engine.New(engine.Options{
		Store: s.Store, Registry: s.Registry, Notifier: s.Notifier, Dispatcher: engine.NewScheduler(engine.SchedulerOptions{}),
	})
	c := newInfo()
	cmd := s.Decode(c, []byte(`{"type":"request","id":"`+wire.NewIDAt(now)+`","action":"later","delayMs":60000}`), now)[0]
	require.Nil(t, cmd.Answer())
	for _, want := range []string{wire.TypeError, wire.TypeAck} {
		got.types = nil
		s.Handle(t.Context(), c, cmd, got)
		require.Equal(t, []string{want}, got.types)
		full = false
	}
}
