package session

import (
	"bytes"
	"errors"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/engine"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
)

// Command is what one message of a frame does, as Decode judged it.
type Command struct {
	// Index is the message's place in its batch; -1: it came alone.
	Index int
	// Bytes is the memory that the message holds until it is answered.
	Bytes int
	// Action and Placement are a request's; nil and NotPlaced for all others.
	Action    *core.Action
	Placement engine.Placement

	kind    string // the message's type
	ref, id string
	// answer is the whole answer of a command that needs no Handle.
	answer *wire.ServerMessage

	request *engine.Request // request
	after   uint64          // subscribe
	epoch   int64           // subscribe
	query   *store.Query    // list
	cursor  string          // list
	token   string          // auth
}

// Request is a request's, for Share; nil for all other commands.
func (c *Command) Request() *engine.Request { return c.request }

// Subscribes reports whether the connection may follow one stream more after the
// command.
func (c *Command) Subscribes() bool { return c.request != nil || c.kind == wire.TypeSubscribe }

// IsAuth reports whether the command may change ConnInfo.Expires.
func (c *Command) IsAuth() bool { return c.kind == wire.TypeAuth }

// Answer is the whole answer of a command that needs no Handle; nil: it needs it.
func (c *Command) Answer() *wire.ServerMessage { return c.answer }

// Overloaded is the answer to a command that is not carried out now, and may be
// sent again after the wait.
func (c *Command) Overloaded(text string, wait time.Duration) *wire.ServerMessage {
	m := c.refusal(wire.CodeOverloaded, text, "")
	m.RetryAfterMs = (wait + time.Millisecond - 1).Milliseconds()
	return m
}

// refusal is the error message that answers the command. Errors that can go away
// are not final. It is not inlined: messages are large, and the frames of its
// callers, on which payloads are decoded, would be several times as large.
//
//go:noinline
func (c *Command) refusal(code, text, field string) *wire.ServerMessage {
	m := wire.ErrorMessage(code, text, c.kind == wire.TypeRequest && !wire.Codes[code].Retryable)
	m.Ref, m.ID, m.Field = c.ref, c.id, field
	if c.Index >= 0 {
		m.Index = &c.Index
	}
	return &m
}

// refuse makes a refusal the command's answer.
func (c *Command) refuse(code, text, field string) { c.answer = c.refusal(code, text, field) }

var pong = wire.ServerMessage{Type: wire.TypePong}

// Decode judges a frame: it returns what each of its messages does, or why it is
// refused. It carries out nothing. All are judged by the token that the
// connection has now.
func (s *Session) Decode(c *ConnInfo, frame []byte, now time.Time) []*Command {
	items, batch, refusal := wire.DecodeClientFrame(frame)
	if refusal != nil {
		bad := &Command{Index: -1}
		bad.refuse(refusal.Code, refusal.Message, refusal.Field)
		return []*Command{bad}
	}
	commands := make([]*Command, len(items))
	for i := range items {
		m := &items[i].Message
		cmd := &Command{Index: -1, Bytes: len(frame), kind: m.Type, ref: m.Ref, id: m.ID}
		if batch {
			// What is kept of one message must not keep the whole batch.
			m.Payload, m.Metadata = bytes.Clone(m.Payload), bytes.Clone(m.Metadata)
			cmd.Index, cmd.Bytes = i, len(m.Payload)+len(m.Metadata)
		}
		if e := items[i].Err; e != nil {
			cmd.refuse(e.Code, e.Message, e.Field)
		} else {
			s.interpret(c, cmd, m, now)
		}
		commands[i] = cmd
	}
	return commands
}

// interpret decides what a well-formed message does.
func (s *Session) interpret(c *ConnInfo, cmd *Command, m *wire.ClientMessage, now time.Time) {
	if m.Type == wire.TypePing {
		cmd.answer = &pong
		return
	}
	if m.Type != wire.TypeAuth && !c.Expires().After(now) {
		cmd.refuse(wire.CodeTokenExpired, "the token has expired; send auth with a fresh one", "")
		return
	}
	switch m.Type {
	case wire.TypeAuth:
		cmd.token = m.Token
	case wire.TypeRequest:
		s.interpretRequest(c, cmd, m, now)
	case wire.TypeSubscribe:
		cmd.after, cmd.epoch = m.After, m.Epoch
	case wire.TypeList:
		limit := m.Limit
		if limit == 0 {
			limit = wire.DefaultList
		}
		cmd.query, cmd.cursor = &store.Query{
			Tenant: c.Identity.Tenant, Subject: c.Identity.Subject, Status: store.Status(m.Status), Action: m.Action, Limit: limit,
		}, m.Cursor
	case wire.TypeCancel, wire.TypeUnsubscribe:
	default:
		cmd.refuse(wire.CodeUnsupported, "this server does not serve "+m.Type, "type")
	}
}

// MaxFuture is how far an id's time may lie in the future.
const MaxFuture = 24 * time.Hour

func (s *Session) interpretRequest(c *ConnInfo, cmd *Command, m *wire.ClientMessage, now time.Time) {
	at := wire.IDTime(m.ID)
	action := s.Registry.Actions[m.Action]
	switch {
	case at.After(now.Add(MaxFuture)):
		cmd.refuse(wire.CodeInvalidMessage, "the id's time lies more than 24 h in the future; check the clock", "id")
		return
	case m.Group != "":
		cmd.refuse(wire.CodeUnsupported, "this server does not serve groups", "group")
		return
	case action == nil:
		cmd.refuse(wire.CodeUnknownAction, "no handler has the name "+m.Action, "action")
		return
	case !c.mayCall(action):
		cmd.refuse(wire.CodeForbidden, "the token lacks a scope that "+m.Action+" requires", "")
		return
	case m.Mode == wire.ModeSync && (action.Stream || action.Placement == core.Async):
		cmd.refuse(wire.CodeModeRefused, m.Action+" is stored or streams; it cannot be called with mode sync", "mode")
		return
	case m.Mode == wire.ModeSync && (m.IdempotencyKey != "" || m.DelayMs > 0 || m.CancelAfterMs != nil):
		cmd.refuse(wire.CodeModeRefused, "a call of mode sync is not stored: idempotencyKey, delayMs and cancelAfterMs need it to be", "mode")
		return
	}
	payload := []byte(m.Payload)
	if payload == nil {
		payload = []byte("null")
	}
	in, err := action.Decode(payload)
	if err != nil {
		refuseErr := badPayload(err)
		cmd.refuse(refuseErr.Code, refuseErr.Message, refuseErr.Field)
		return
	}
	r := &engine.Request{
		Key: c.key(m.ID), Subject: c.Identity.Subject, Connection: c.Connection, Action: action, In: in,
		Payload: payload, Metadata: m.Metadata, Sync: m.Mode == wire.ModeSync,
		Timeout: time.Duration(m.TimeoutMs) * time.Millisecond, Delay: time.Duration(m.DelayMs) * time.Millisecond,
		IdempotencyKey: m.IdempotencyKey, KnownOnly: at.Before(now.Add(-s.Retention)),
	}
	if m.CancelAfterMs != nil {
		after := time.Duration(*m.CancelAfterMs) * time.Millisecond
		r.CancelAfter = &after
	}
	r.Placement = r.Place(m.Mode == wire.ModeAsync, s.Threshold)
	cmd.request, cmd.Action, cmd.Placement = r, action, r.Placement
}

// badPayload says why a payload does not fit its action's schema.
func badPayload(err error) *wire.Error {
	var own *core.Error
	if errors.As(err, &own) {
		return &wire.Error{Code: own.Code, Message: own.Message, Field: own.Field}
	}
	return &wire.Error{Code: wire.CodeInvalidPayload, Message: "the payload does not fit the action"}
}
