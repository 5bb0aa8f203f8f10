package session

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func rules() *Rules {
	decode := func(b []byte) (any, error) {
		if string(b) == `"bad"` {
			return nil, &core.Error{Code: core.CodeInvalidPayload, Message: "must not be bad", Field: "/x"}
		}
		return string(b), nil
	}
	return &Rules{Retention: store.DefaultRetention, Registry: &core.Registry{Actions: map[string]*core.Action{
		"plain":   {Name: "plain", Decode: decode},
		"later":   {Name: "later", Decode: decode, Placement: core.Async},
		"stream":  {Name: "stream", Decode: decode, Stream: true},
		"guarded": {Name: "guarded", Decode: decode, Scopes: []string{"a", "b"}},
	}}}
}

var now = time.Now()

func facts() *Facts {
	return &Facts{Connection: "c", Tenant: "acme", Subject: "ann", Scopes: []string{"a"}, Expires: now.Add(time.Hour)}
}

func message(t *testing.T, text string) *wire.ClientMessage {
	items, _, err := wire.DecodeClientFrame([]byte(text))
	require.Nil(t, err)
	require.Nil(t, items[0].Err)
	return &items[0].Message
}

func TestDecide(t *testing.T) {
	id := wire.NewIDAt(now)
	request := func(action, more string) string {
		return `{"type":"request","id":"` + id + `","action":"` + action + `"` + more + `}`
	}
	cases := []struct {
		name, send string
		code       string // empty: it becomes an effect of this type
		effect     Effect
	}{
		{"a request", request("plain", ""), "", Submit{}},
		{"an unknown action", request("none", ""), wire.CodeUnknownAction, nil},
		{"a scope is missing", request("guarded", ""), wire.CodeForbidden, nil},
		{"a bad payload", request("plain", `,"payload":"bad"`), wire.CodeInvalidPayload, nil},
		{"who may not call learns nothing of the payload", request("guarded", `,"payload":"bad"`), wire.CodeForbidden, nil},
		{"a group", request("plain", `,"group":"g"`), wire.CodeUnsupported, nil},
		{"sync of a stored action", request("later", `,"mode":"sync"`), wire.CodeModeRefused, nil},
		{"sync of a stream", request("stream", `,"mode":"sync"`), wire.CodeModeRefused, nil},
		{"sync with a key", request("plain", `,"mode":"sync","idempotencyKey":"k"`), wire.CodeModeRefused, nil},
		{"sync", request("plain", `,"mode":"sync"`), "", Submit{}},
		{"ping", `{"type":"ping"}`, "", Say{}},
		{"cancel", `{"type":"cancel","ref":"r","id":"` + id + `"}`, "", Cancel{}},
		{"subscribe", `{"type":"subscribe","ref":"r","id":"` + id + `"}`, "", Subscribe{}},
		{"unsubscribe", `{"type":"unsubscribe","ref":"r","id":"` + id + `"}`, "", Unsubscribe{}},
		{"list", `{"type":"list","ref":"r"}`, "", List{}},
		{"auth", `{"type":"auth","ref":"r","token":"t"}`, "", Authenticate{}},
		{"seal", `{"type":"seal","ref":"r","id":"` + id + `","size":1}`, wire.CodeUnsupported, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := message(t, c.send)
			got := rules().Decide(facts(), m, now)
			if c.code == "" {
				require.IsType(t, c.effect, got)
			} else {
				answer := got.(Say).Message
				require.Equal(t, c.code, answer.Code)
				require.Equal(t, m.ID, answer.ID)
				require.Equal(t, m.Ref, answer.Ref)
				require.Equal(t, m.Type == wire.TypeRequest, *answer.Final)
			}
			// Once the token has expired, only auth and ping pass.
			late := rules().Decide(facts(), m, now.Add(time.Hour))
			if m.Type == wire.TypePing || m.Type == wire.TypeAuth {
				require.IsType(t, c.effect, late)
				return
			}
			answer := late.(Say).Message
			require.Equal(t, wire.CodeTokenExpired, answer.Code)
			require.False(t, *answer.Final)
			require.True(t, *answer.Retryable)
		})
	}
}

// Identity comes from the token alone, and the payload is passed on byte for
// byte; an absent one is null.
func TestRequestsAreTheCallers(t *testing.T) {
	m := message(t, `{"type":"request","id":"`+wire.NewIDAt(now)+`","action":"plain","payload": {"tenant" : "evil"},"metadata":{"subject":"eve"},"delayMs":5,"timeoutMs":7,"cancelAfterMs":0}`)
	r := rules().Decide(facts(), m, now).(Submit).Request
	require.Equal(t, store.Key{Tenant: "acme", ID: m.ID}, r.Key)
	require.Equal(t, "ann", r.Subject)
	require.Equal(t, `{"tenant" : "evil"}`, string(r.Payload))
	require.Equal(t, 5*time.Millisecond, r.Delay)
	require.Equal(t, 7*time.Millisecond, r.Timeout)
	require.Zero(t, *r.CancelAfter)
	m = message(t, `{"type":"request","id":"`+wire.NewIDAt(now)+`","action":"plain"}`)
	r = rules().Decide(facts(), m, now).(Submit).Request
	require.Equal(t, `null`, string(r.Payload))
	require.Nil(t, r.CancelAfter)
}

func TestIDsHaveTheirTime(t *testing.T) {
	at := func(d time.Duration) Effect {
		m := message(t, `{"type":"request","id":"`+wire.NewIDAt(now.Add(d))+`","action":"plain"}`)
		return rules().Decide(facts(), m, now)
	}
	require.Equal(t, wire.CodeInvalidMessage, at(25*time.Hour).(Say).Message.Code)
	require.False(t, at(23*time.Hour).(Submit).Request.KnownOnly)
	require.False(t, at(-7*24*time.Hour+time.Minute).(Submit).Request.KnownOnly)
	require.True(t, at(-7*24*time.Hour-time.Minute).(Submit).Request.KnownOnly)
}
