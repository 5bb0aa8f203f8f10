package session

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/engine"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSession() *Session {
	decode := func(b []byte) (any, error) {
		if string(b) == `"bad"` {
			return nil, &core.Error{Code: core.CodeInvalidPayload, Message: "must not be bad", Field: "/x"}
		}
		return string(b), nil
	}
	return &Session{Retention: store.DefaultRetention, Threshold: core.Threshold, Logger: slog.New(slog.DiscardHandler), Registry: &core.Registry{Actions: map[string]*core.Action{
		"plain":   {Name: "plain", Decode: decode},
		"later":   {Name: "later", Decode: decode, Placement: core.Async},
		"stream":  {Name: "stream", Decode: decode, Stream: true},
		"guarded": {Name: "guarded", Decode: decode, Scopes: []string{"a", "b"}},
	}}}
}

var now = time.Now()

func newInfo() *ConnInfo {
	return &ConnInfo{Connection: "c", Identity: Identity{Tenant: "acme", Subject: "ann", Scopes: []string{"a"}, Expires: now.Add(time.Hour)}}
}

// replies is a Replier that keeps all answers.
type replies []wire.ServerMessage

func (r *replies) Reply(_ *Command, m wire.ServerMessage) { *r = append(*r, m) }

// ask carries out a frame of one message, and returns its only answer.
func ask(t *testing.T, s *Session, c *ConnInfo, format string, args ...any) wire.ServerMessage {
	t.Helper()
	commands, got := s.Decode(c, fmt.Appendf(nil, format, args...), now), replies{}
	require.Len(t, commands, 1)
	require.Nil(t, commands[0].Answer())
	s.Handle(t.Context(), c, commands[0], &got)
	require.Len(t, got, 1)
	return got[0]
}

// decode judges a frame of one message.
func decode(t *testing.T, frame string, at time.Time) *Command {
	commands := newSession().Decode(newInfo(), []byte(frame), at)
	require.Len(t, commands, 1)
	return commands[0]
}

func TestDecode(t *testing.T) {
	id := wire.NewIDAt(now)
	request := func(action, more string) string {
		return `{"type":"request","id":"` + id + `","action":"` + action + `"` + more + `}`
	}
	for _, c := range []struct {
		name, send string
		code       string // empty: it is carried out
	}{
		{"a request", request("plain", ""), ""},
		{"an unknown action", request("none", ""), wire.CodeUnknownAction},
		{"a scope is missing", request("guarded", ""), wire.CodeForbidden},
		{"a bad payload", request("plain", `,"payload":"bad"`), wire.CodeInvalidPayload},
		{"who may not call learns nothing of the payload", request("guarded", `,"payload":"bad"`), wire.CodeForbidden},
		{"a group", request("plain", `,"group":"g"`), wire.CodeUnsupported},
		{"sync of a stored action", request("later", `,"mode":"sync"`), wire.CodeModeRefused},
		{"sync of a stream", request("stream", `,"mode":"sync"`), wire.CodeModeRefused},
		{"sync with a key", request("plain", `,"mode":"sync","idempotencyKey":"k"`), wire.CodeModeRefused},
		{"sync", request("plain", `,"mode":"sync"`), ""},
		{"ping", `{"type":"ping"}`, ""},
		{"cancel", `{"type":"cancel","ref":"r","id":"` + id + `"}`, ""},
		{"subscribe", `{"type":"subscribe","ref":"r","id":"` + id + `"}`, ""},
		{"unsubscribe", `{"type":"unsubscribe","ref":"r","id":"` + id + `"}`, ""},
		{"list", `{"type":"list","ref":"r"}`, ""},
		{"auth", `{"type":"auth","ref":"r","token":"t"}`, ""},
		{"seal", `{"type":"seal","ref":"r","id":"` + id + `","size":1}`, wire.CodeUnsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := decode(t, c.send, now)
			isRequest, isPing := cmd.kind == wire.TypeRequest, cmd.kind == wire.TypePing
			switch {
			case isPing:
				require.Equal(t, wire.TypePong, cmd.Answer().Type)
			case c.code == "":
				require.Nil(t, cmd.Answer())
				require.Equal(t, isRequest, cmd.Request() != nil)
			default:
				m := cmd.Answer()
				require.Equal(t, c.code, m.Code)
				require.Equal(t, cmd.id, m.ID)
				require.Equal(t, cmd.ref, m.Ref)
				require.Equal(t, isRequest, *m.Final)
			}
			// Once the token has expired, only auth and ping pass.
			late := decode(t, c.send, now.Add(time.Hour)).Answer()
			if isPing || cmd.IsAuth() {
				require.Equal(t, isPing, late != nil)
				return
			}
			require.Equal(t, wire.CodeTokenExpired, late.Code)
			require.False(t, *late.Final)
			require.True(t, *late.Retryable)
		})
	}
}

// Each message of a batch is judged by itself, and refused with its place.
func TestDecodeBatch(t *testing.T) {
	id := wire.NewIDAt(now)
	frame := `[{"type":"ping"},{"type":"request","id":"` + id + `","action":"none"},{"type":"nonsense"},` +
		`{"type":"request","id":"` + id + `","action":"plain","payload":"pay","metadata":{"a":1}}]`
	commands := newSession().Decode(newInfo(), []byte(frame), now)
	require.Len(t, commands, 4)
	require.Equal(t, wire.TypePong, commands[0].Answer().Type)
	require.Equal(t, wire.CodeUnknownAction, commands[1].Answer().Code)
	require.Equal(t, 1, *commands[1].Answer().Index)
	require.Equal(t, 2, *commands[2].Answer().Index)
	require.Nil(t, commands[3].Answer())
	require.Equal(t, 3, commands[3].Index)
	require.Equal(t, len(`"pay"`)+len(`{"a":1}`), commands[3].Bytes, "it does not hold the whole frame")
	require.Equal(t, 3, *commands[3].Overloaded("later", time.Second).Index)

	bad := newSession().Decode(newInfo(), []byte(`{"type":`), now)
	require.Len(t, bad, 1)
	require.Equal(t, wire.CodeMalformed, bad[0].Answer().Code)
	require.Nil(t, bad[0].Answer().Index)
}

// A token of the same identity extends the connection's time; any other leaves it
// as it was.
func TestAuthInBand(t *testing.T) {
	s, c := newSession(), newInfo()
	var fresh Identity
	var refusal *wire.Error
	s.Authenticate = func(_ context.Context, token string) (Identity, *wire.Error) {
		require.Equal(t, "t", token)
		return fresh, refusal
	}
	auth := func() wire.ServerMessage {
		m := ask(t, s, c, `{"type":"auth","ref":"r","token":"t"}`)
		require.Equal(t, "r", m.Ref)
		return m
	}
	fresh = c.Identity
	fresh.Expires = now.Add(3 * time.Hour)
	require.Equal(t, wire.TypeOK, auth().Type)
	require.True(t, fresh.Expires.Equal(c.Expires()))
	for _, other := range []Identity{
		{Tenant: "evil", Subject: "ann", Scopes: []string{"a"}}, {Tenant: "acme", Subject: "eve", Scopes: []string{"a"}},
		{Tenant: "acme", Subject: "ann", Scopes: []string{"a", "b"}}, {Tenant: "acme", Subject: "ann"},
	} {
		other.Expires, fresh = now.Add(9*time.Hour), other
		require.Equal(t, wire.CodeReconnectRequired, auth().Code)
		require.Equal(t, now.Add(3*time.Hour).UnixNano(), c.Expires().UnixNano())
	}
	for code, want := range map[string]string{
		wire.CodeTokenExpired: wire.CodeUnauthorized, wire.CodeUnauthorized: wire.CodeUnauthorized, wire.CodeUnavailable: wire.CodeUnavailable,
	} {
		refusal = &wire.Error{Code: code, Message: "no"}
		m := auth()
		require.Equal(t, want, m.Code)
		require.False(t, *m.Final)
	}
}

// Identity comes from the token alone, and the payload is passed on byte for
// byte; an absent one is null.
func TestRequestsAreTheCallers(t *testing.T) {
	id := wire.NewIDAt(now)
	r := decode(t, `{"type":"request","id":"`+id+`","action":"plain","payload": {"tenant" : "evil"},"metadata":{"subject":"eve"},"delayMs":5,"timeoutMs":7,"cancelAfterMs":0}`, now).Request()
	require.Equal(t, store.Key{Tenant: "acme", ID: id}, r.Key)
	require.Equal(t, "ann", r.Subject)
	require.Equal(t, `{"tenant" : "evil"}`, string(r.Payload))
	require.Equal(t, 5*time.Millisecond, r.Delay)
	require.Equal(t, 7*time.Millisecond, r.Timeout)
	require.Zero(t, *r.CancelAfter)
	r = decode(t, `{"type":"request","id":"`+id+`","action":"plain"}`, now).Request()
	require.Equal(t, `null`, string(r.Payload))
	require.Nil(t, r.CancelAfter)
}

func TestIDsHaveTheirTime(t *testing.T) {
	at := func(d time.Duration) *Command {
		return decode(t, `{"type":"request","id":"`+wire.NewIDAt(now.Add(d))+`","action":"plain"}`, now)
	}
	require.Equal(t, wire.CodeInvalidMessage, at(25*time.Hour).Answer().Code)
	require.False(t, at(23*time.Hour).Request().KnownOnly)
	require.False(t, at(-7*24*time.Hour+time.Minute).Request().KnownOnly)
	require.True(t, at(-7*24*time.Hour-time.Minute).Request().KnownOnly)
}

// Placement is decided once, when the message is judged: Expect runs once.
func TestPlacementIsDecidedOnce(t *testing.T) {
	s, calls := newSession(), 0
	expected := time.Second
	s.Registry.Actions["plain"].Expect = func(any) time.Duration {
		calls++
		return expected
	}
	place := func(more string) engine.Placement {
		frame := `{"type":"request","id":"` + wire.NewIDAt(now) + `","action":"plain"` + more + `}`
		return s.Decode(newInfo(), []byte(frame), now)[0].Placement
	}
	require.Equal(t, engine.Inline, place(""))
	expected = core.Threshold
	require.Equal(t, engine.Stored, place(""))
	require.Equal(t, 2, calls)
	require.Equal(t, engine.Stored, place(`,"mode":"async"`))
	require.Equal(t, engine.Inline, place(`,"mode":"sync"`))
	require.Equal(t, 2, calls, "the mode decides")
}

// Invariant 1: a stored call is acknowledged after the store has accepted it, and
// not if it could not.
func TestInvariant01AckFollowsAccept(t *testing.T) {
	var got replies
	full := true
	s := newSession()
	s.Store = faultstore.New(memory.New(nil), faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		if op != faultstore.Accept {
			return nil
		}
		require.Empty(t, got)
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
		got = nil
		s.Handle(t.Context(), c, cmd, &got)
		require.Len(t, got, 1)
		require.Equal(t, want, got[0].Type)
		full = false
	}
}
