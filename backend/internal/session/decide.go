package session

import (
	"errors"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/engine"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
)

// MaxFuture is how far an id's time may lie in the future.
const MaxFuture = 24 * time.Hour

// Rules are what messages are judged by.
type Rules struct {
	Registry *core.Registry
	// Retention is for how long ended calls are known.
	Retention time.Duration
}

// Refuse returns the error message that answers m. Errors that can go away are
// not final.
func Refuse(m *wire.ClientMessage, e *wire.Error) wire.ServerMessage {
	out := wire.ErrorMessage(e.Code, e.Message, m.Type == wire.TypeRequest && !wire.Codes[e.Code].Retryable)
	out.Ref, out.ID, out.Field = m.Ref, m.ID, e.Field
	return out
}

// OK returns the plain answer to a ref.
func OK(ref string) wire.ServerMessage { return wire.ServerMessage{Type: wire.TypeOK, Ref: ref} }

// refuse is not inlined: messages are large, and the frames of its callers, on
// which payloads are decoded, would be several times as large as they are.
//
//go:noinline
func refuse(m *wire.ClientMessage, code, text, field string) Effect {
	return Say{Refuse(m, &wire.Error{Code: code, Message: text, Field: field})}
}

// pong is every ping's effect.
var pong Effect = Say{wire.ServerMessage{Type: wire.TypePong}}

// Decide says what a decoded message does.
func (r *Rules) Decide(f *Facts, m *wire.ClientMessage, now time.Time) Effect {
	if m.Type == wire.TypePing {
		return pong
	}
	if m.Type == wire.TypeAuth {
		return Authenticate{m.Ref, m.Token}
	}
	if !f.Expires.After(now) {
		return refuse(m, wire.CodeTokenExpired, "the token has expired; send auth with a fresh one", "")
	}
	switch m.Type {
	case wire.TypeRequest:
		return r.request(f, m, now)
	case wire.TypeCancel:
		return Cancel{m.Ref, m.ID}
	case wire.TypeSubscribe:
		return Subscribe{m.Ref, m.ID, m.After, m.Epoch}
	case wire.TypeUnsubscribe:
		return Unsubscribe{m.Ref, m.ID}
	case wire.TypeList:
		limit := m.Limit
		if limit == 0 {
			limit = wire.DefaultList
		}
		return List{m.Ref, store.Query{
			Tenant: f.Tenant, Subject: f.Subject, Status: store.Status(m.Status), Action: m.Action, Limit: limit,
		}, m.Cursor}
	}
	return refuse(m, wire.CodeUnsupported, "this server does not serve "+m.Type, "type")
}

// request judges a request.
func (r *Rules) request(f *Facts, m *wire.ClientMessage, now time.Time) Effect {
	at := wire.IDTime(m.ID)
	action := r.Registry.Actions[m.Action]
	switch {
	case at.After(now.Add(MaxFuture)):
		return refuse(m, wire.CodeInvalidMessage, "the id's time lies more than 24 h in the future; check the clock", "id")
	case m.Group != "":
		return refuse(m, wire.CodeUnsupported, "this server does not serve groups", "group")
	case action == nil:
		return refuse(m, wire.CodeUnknownAction, "no handler has the name "+m.Action, "action")
	case !f.allowed(action):
		return refuse(m, wire.CodeForbidden, "the token lacks a scope that "+m.Action+" requires", "")
	case m.Mode == wire.ModeSync && (action.Stream || action.Placement == core.Async):
		return refuse(m, wire.CodeModeRefused, m.Action+" is stored or streams; it cannot be called with mode sync", "mode")
	case m.Mode == wire.ModeSync && (m.IdempotencyKey != "" || m.DelayMs > 0 || m.CancelAfterMs != nil):
		return refuse(m, wire.CodeModeRefused, "a call of mode sync is not stored: idempotencyKey, delayMs and cancelAfterMs need it to be", "mode")
	}
	payload := []byte(m.Payload)
	if payload == nil {
		payload = []byte("null")
	}
	in, err := action.Decode(payload)
	if err != nil {
		return badPayload(m, err)
	}
	request := &engine.Request{
		Key: f.key(m.ID), Subject: f.Subject, Connection: f.Connection, Action: action, In: in,
		Payload: payload, Metadata: m.Metadata, Sync: m.Mode == wire.ModeSync, Async: m.Mode == wire.ModeAsync,
		Timeout: time.Duration(m.TimeoutMs) * time.Millisecond, Delay: time.Duration(m.DelayMs) * time.Millisecond,
		IdempotencyKey: m.IdempotencyKey, KnownOnly: at.Before(now.Add(-r.Retention)),
	}
	if m.CancelAfterMs != nil {
		after := time.Duration(*m.CancelAfterMs) * time.Millisecond
		request.CancelAfter = &after
	}
	return Submit{request}
}

// badPayload answers a payload that does not fit its action's schema.
func badPayload(m *wire.ClientMessage, err error) Effect {
	refusal := &wire.Error{Code: wire.CodeInvalidPayload, Message: "the payload does not fit the action"}
	var own *core.Error
	if errors.As(err, &own) {
		refusal.Code, refusal.Message, refusal.Field = own.Code, own.Message, own.Field
	}
	return Say{Refuse(m, refusal)}
}
