// Package session is the protocol on one connection: [Session.Decode] judges a
// frame, [Session.Handle] carries out what its messages ask for and answers them.
// It knows no sockets.
package session

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/engine"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
)

// Session serves the protocol. It keeps nothing of a connection, and is safe for
// concurrent use.
type Session struct {
	Registry *core.Registry
	Engine   *engine.Engine
	Store    store.RequestQueue
	Notifier *deliver.Notifier
	Logger   *slog.Logger
	// Authenticate verifies a token that a client sends on its connection. The
	// refusal is what the client gets; nil: the token is valid.
	Authenticate func(ctx context.Context, token string) (Identity, *wire.Error)
	// Retention is how long ended calls are known.
	Retention time.Duration
	// Threshold is the expected duration from which a call is stored before it
	// runs.
	Threshold time.Duration
	// HandlerContext is the parent of the contexts of the handlers that Handle
	// runs. Nil: Handle's own context.
	HandlerContext context.Context //nolint:containedctx // handlers outlive the message that started them
}

// Replier takes the answer to a command.
type Replier interface {
	// Reply is called once for a command, possibly from another goroutine than
	// Handle's, and for a request that joins a run after Handle has returned.
	Reply(cmd *Command, m wire.ServerMessage)
}

// Handle carries out a command that Decode gave no answer, on this goroutine,
// including a handler that it starts.
func (s *Session) Handle(ctx context.Context, c *ConnInfo, cmd *Command, r Replier) {
	var m wire.ServerMessage
	switch cmd.kind {
	case wire.TypeRequest:
		s.submit(ctx, c, cmd, r)
		return
	case wire.TypeCancel:
		defer c.acquirePageSlot()()
		m = s.cancel(ctx, c, cmd)
	case wire.TypeSubscribe:
		defer c.acquirePageSlot()()
		m = s.subscribe(ctx, c, cmd)
	case wire.TypeUnsubscribe:
		m = s.unsubscribe(ctx, c, cmd)
	case wire.TypeList:
		defer c.acquirePageSlot()()
		m = s.list(ctx, cmd)
	case wire.TypeAuth:
		m = s.authenticate(ctx, c, cmd)
	}
	r.Reply(cmd, m)
}

// submit submits a request, answers it, and runs its attempt.
func (s *Session) submit(ctx context.Context, c *ConnInfo, cmd *Command, r Replier) {
	reply := func(a engine.Answer) { s.answer(ctx, c, cmd, &a, r) }
	sub := s.Engine.Submit(ctx, cmd.request, reply)
	if sub.Answer != nil {
		reply(*sub.Answer)
	}
	if sub.Then != nil {
		sub.Then()
	}
	if sub.Attempt == nil {
		return
	}
	if sub.Answer != nil {
		runtime.Gosched() // the goroutine that sends the ack goes first
	}
	parent := s.HandlerContext
	if parent == nil {
		parent = ctx
	}
	sub.Attempt.Run(parent)
}

// answer turns the engine's answer to a request into a message.
func (s *Session) answer(ctx context.Context, c *ConnInfo, cmd *Command, a *engine.Answer, r Replier) {
	var m wire.ServerMessage
	switch a.Kind {
	case engine.Ended:
		event := a.End.Event(0)
		m = deliver.Message(cmd.id, a.State.Accepted, &event)
	case engine.Accepted:
		m = deliver.Message(cmd.id, a.State.Accepted, &store.Event{Kind: store.Ack, Seq: 1})
	case engine.Known:
		defer c.acquirePageSlot()()
		m = s.page(ctx, c, &a.State, 0)
		if a.State.ID != cmd.id {
			m.For = cmd.id
		}
		if m.Type == wire.TypeError {
			m.ID = cmd.id
		}
	case engine.Refused:
		m = wire.ErrorMessage(a.Err.Code, a.Err.Message, a.Final)
		m.ID, m.Field = cmd.id, a.Err.Field
		if a.Err.Code == wire.CodeOverloaded {
			m.RetryAfterMs = 1000
			if cmd.Index >= 0 {
				m.Index = &cmd.Index
			}
		}
	}
	r.Reply(cmd, m)
}

// page returns a snapshot of a stream that the connection may follow. If the page
// is the last one, the connection follows the stream live from then on.
func (s *Session) page(ctx context.Context, c *ConnInfo, known *store.State, after uint64) wire.ServerMessage {
	sub := store.Subscription{
		Tenant: known.Tenant, Stream: known.ID, Connection: c.Connection, Subject: c.Identity.Subject,
		Live: true, Watched: known.CancelAfter != nil,
	}
	// Live first, read second: an event in between is sent twice, and the client
	// drops the second one by its seq.
	if err := s.follow(ctx, sub); err != nil {
		return s.failed("", known.ID, err)
	}
	state, events, err := s.Store.Read(ctx, known.Key, after, wire.MaxPage)
	if err != nil {
		_ = s.unfollow(ctx, c, known.ID)
		return s.failed("", known.ID, err)
	}
	more := len(events) > 0 && events[len(events)-1].Seq < state.LastSeq
	switch {
	case state.Status.Ended():
		err = s.unfollow(ctx, c, known.ID)
	case more:
		sub.Live = false
		err = s.follow(ctx, sub)
	}
	if err != nil {
		return s.failed("", known.ID, err)
	}
	m := deliver.SnapshotMessage(&state, events)
	m.More = &more
	return m
}

func (s *Session) follow(ctx context.Context, sub store.Subscription) error {
	change, err := s.Notifier.Subscribe(ctx, sub)
	s.Engine.SubscribersChanged(change)
	return err
}

func (s *Session) unfollow(ctx context.Context, c *ConnInfo, id string) error {
	change, err := s.Notifier.Unsubscribe(ctx, c.Address(), id)
	s.Engine.SubscribersChanged(change)
	return err
}

// Disconnected removes the subscriptions of a connection that has ended.
func (s *Session) Disconnected(ctx context.Context, a deliver.Address) error {
	changes, err := s.Notifier.Disconnect(ctx, a)
	s.Engine.SubscribersChanged(changes...)
	return err
}

// subscribe answers a subscribe. A stream that the connection may not see is
// answered as one that does not exist.
func (s *Session) subscribe(ctx context.Context, c *ConnInfo, cmd *Command) wire.ServerMessage {
	state, _, err := s.Store.Read(ctx, c.key(cmd.id), 0, 0)
	if err == nil && !s.may(ctx, core.Follow, c, &state) {
		err = store.ErrNotFound
	}
	if err != nil {
		return s.failed(cmd.ref, cmd.id, err)
	}
	after := cmd.after
	recovered := after <= state.LastSeq && (cmd.epoch == 0 || cmd.epoch == state.Accepted.UnixMilli())
	if !recovered {
		after = 0
	}
	m := s.page(ctx, c, &state, after)
	m.Ref = cmd.ref
	if !recovered && m.Type == wire.TypeSnapshot {
		m.Recovered = &recovered
	}
	return m
}

func (s *Session) unsubscribe(ctx context.Context, c *ConnInfo, cmd *Command) wire.ServerMessage {
	if err := s.unfollow(ctx, c, cmd.id); err != nil {
		return s.failed(cmd.ref, "", err)
	}
	return ok(cmd.ref)
}

// ok is the plain answer to a ref.
func ok(ref string) wire.ServerMessage { return wire.ServerMessage{Type: wire.TypeOK, Ref: ref} }

// cancel answers a cancel. A call that does not exist, and one that is not the
// caller's, get the same answer as one that was cancelled.
func (s *Session) cancel(ctx context.Context, c *ConnInfo, cmd *Command) wire.ServerMessage {
	k := c.key(cmd.id)
	subject := c.Identity.Subject
	if s.Registry.Authorize != nil {
		if state, _, err := s.Store.Read(ctx, k, 0, 0); err == nil && s.may(ctx, core.Cancel, c, &state) {
			subject = state.Subject
		}
	}
	state, err := s.Engine.Cancel(ctx, k, subject)
	switch {
	case errors.Is(err, store.ErrEnded):
		m := s.page(ctx, c, &state, 0)
		m.Ref = cmd.ref
		return m
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return s.failed(cmd.ref, cmd.id, err)
	}
	return ok(cmd.ref)
}

func (s *Session) list(ctx context.Context, cmd *Command) wire.ServerMessage {
	calls, next, err := s.Store.List(ctx, *cmd.query, cmd.cursor)
	if err != nil {
		return s.failed(cmd.ref, "", err)
	}
	m := wire.ServerMessage{Type: wire.TypeCalls, Ref: cmd.ref, Cursor: next, Calls: make([]wire.Summary, len(calls))}
	for i := range calls {
		m.Calls[i] = deliver.SummaryMessage(&calls[i])
	}
	return m
}

// authTimeout bounds the verification of a token.
const authTimeout = 10 * time.Second

// authenticate extends the connection's time by a fresh token.
func (s *Session) authenticate(ctx context.Context, c *ConnInfo, cmd *Command) wire.ServerMessage {
	ctx, cancel := context.WithTimeout(ctx, authTimeout)
	defer cancel()
	id, refusal := s.Authenticate(ctx, cmd.token)
	switch {
	case refusal != nil:
		code := refusal.Code
		if code == wire.CodeTokenExpired {
			code = wire.CodeUnauthorized
		}
		return s.refused(cmd, code, refusal.Message)
	case !c.Identity.isSame(&id):
		return s.refused(cmd, wire.CodeReconnectRequired, "the token has another tenant, subject or set of scopes")
	}
	c.extend(id.Expires)
	return ok(cmd.ref)
}

// refused is the answer to an auth that is refused.
func (s *Session) refused(cmd *Command, code, text string) wire.ServerMessage {
	m := wire.ErrorMessage(code, text, false)
	m.Ref = cmd.ref
	return m
}

// may reports whether the connection may act on a call: its owner may, others of
// the tenant if the router's rule allows it.
func (s *Session) may(ctx context.Context, verb core.Verb, c *ConnInfo, state *store.State) (allowed bool) {
	if state.Subject == c.Identity.Subject {
		return true
	}
	defer func() {
		if v := recover(); v != nil {
			allowed = false
			s.Logger.Error("Authorize panicked, which counts as no", "id", state.ID, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	return s.Registry.Authorize != nil && s.Registry.Authorize(ctx, core.Access{
		Verb: verb, Tenant: c.Identity.Tenant, Subject: c.Identity.Subject, Scopes: c.Identity.Scopes,
		Owner: state.Subject, Action: state.Action, ID: state.ID,
	})
}

// failed answers what the store refused.
func (s *Session) failed(ref, id string, err error) wire.ServerMessage {
	code, text, final := wire.CodeUnavailable, "the server cannot do it now; send it again", false
	switch {
	case errors.Is(err, store.ErrNotFound):
		code, text, final = wire.CodeNotFound, "there is no such stream", true
	case errors.Is(err, store.ErrCursor):
		code, text = wire.CodeInvalidCursor, "the cursor was not made for this list"
	default:
		s.Logger.Warn("the store refused", "id", id, "error", err)
	}
	m := wire.ErrorMessage(code, text, final)
	m.Ref, m.ID = ref, id
	if code == wire.CodeInvalidCursor {
		m.Field = "cursor"
	}
	return m
}
