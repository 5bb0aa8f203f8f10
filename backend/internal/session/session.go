package session

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/engine"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
)

// Session carries effects out. It keeps nothing of a connection, and is safe
// for concurrent use.
type Session struct {
	Rules
	Engine *engine.Engine
	Store  store.RequestQueue
	Teller *deliver.Teller
	Logger *slog.Logger
}

// Perform carries out an effect. say is called with the direct answers, from
// any goroutine; a Submit's may come long after Perform has begun, and Perform
// returns when the caller's goroutine has no more to do.
func (s *Session) Perform(ctx context.Context, f *Facts, e Effect, say func(wire.ServerMessage)) {
	submit, ok := e.(Submit)
	if !ok {
		s.direct(ctx, f, e, say)
		return
	}
	s.Engine.Submit(submit.Request, func(a engine.Answer) {
		if a.Kind == engine.Known {
			defer f.hold()()
		}
		say(s.answer(ctx, f, submit.Request, &a))
	})
}

// direct carries out an effect that has one answer.
func (s *Session) direct(ctx context.Context, f *Facts, e Effect, say func(wire.ServerMessage)) {
	var m wire.ServerMessage
	switch e := e.(type) {
	case Say:
		m = e.Message
	case Cancel:
		defer f.hold()()
		m = s.cancel(ctx, f, e)
	case Subscribe:
		defer f.hold()()
		m = s.subscribe(ctx, f, e)
	case Unsubscribe:
		if err := s.Teller.Unfollow(ctx, f.Address(), e.ID); err != nil {
			m = s.failed(e.Ref, "", err)
		} else {
			m = OK(e.Ref)
		}
	case List:
		defer f.hold()()
		m = s.list(ctx, e)
	}
	say(m)
}

// answer turns the engine's answer to a request into a message.
func (s *Session) answer(ctx context.Context, f *Facts, r *engine.Request, a *engine.Answer) (m wire.ServerMessage) {
	switch a.Kind {
	case engine.Inline:
		event := a.End.Event(0)
		m = deliver.Message(r.ID, a.State.Accepted, &event)
	case engine.Accepted:
		m = deliver.Message(r.ID, a.State.Accepted, &store.Event{Kind: store.Ack, Seq: 1})
	case engine.Known:
		m = s.page(ctx, f, a.State.Key, 0)
		if a.State.ID != r.ID {
			m.For = r.ID
		}
		if m.Type == wire.TypeError {
			m.ID = r.ID
		}
	case engine.Refused:
		m = wire.ErrorMessage(a.Err.Code, a.Err.Message, a.Final)
		m.ID, m.Field = r.ID, a.Err.Field
		if a.Err.Code == wire.CodeOverloaded {
			m.RetryAfterMs = 1000
		}
	}
	return m
}

// page returns a snapshot of a stream that the connection may follow, and has
// it followed live if the page is the last one.
func (s *Session) page(ctx context.Context, f *Facts, k store.Key, after uint64) wire.ServerMessage {
	// Live first, read second: an event that falls between is told twice, and
	// its number tells.
	if err := s.Teller.Follow(ctx, f.Address(), f.Subject, k.ID, true); err != nil {
		return s.failed("", k.ID, err)
	}
	state, events, err := s.Store.Read(ctx, k, after, wire.MaxPage)
	if err != nil {
		_ = s.Teller.Unfollow(ctx, f.Address(), k.ID)
		return s.failed("", k.ID, err)
	}
	more := len(events) > 0 && events[len(events)-1].Seq < state.LastSeq
	switch {
	case state.Status.Ended():
		err = s.Teller.Unfollow(ctx, f.Address(), k.ID)
	case more:
		err = s.Teller.Follow(ctx, f.Address(), f.Subject, k.ID, false)
	}
	if err != nil {
		return s.failed("", k.ID, err)
	}
	m := deliver.SnapshotMessage(&state, events)
	m.More = &more
	return m
}

// subscribe answers a subscribe. What one may not see is answered like what is
// not there.
func (s *Session) subscribe(ctx context.Context, f *Facts, e Subscribe) wire.ServerMessage {
	k := f.key(e.ID)
	state, _, err := s.Store.Read(ctx, k, 0, 0)
	if err == nil && !s.may(ctx, core.Follow, f, &state) {
		err = store.ErrNotFound
	}
	if err != nil {
		return s.failed(e.Ref, e.ID, err)
	}
	recovered := e.After <= state.LastSeq && (e.Epoch == 0 || e.Epoch == state.Accepted.UnixMilli())
	if !recovered {
		e.After = 0
	}
	m := s.page(ctx, f, k, e.After)
	m.Ref = e.Ref
	if !recovered && m.Type == wire.TypeSnapshot {
		m.Recovered = &recovered
	}
	return m
}

// cancel answers a cancel. What is not there, and what is not the caller's,
// gets the same answer as what was stopped.
func (s *Session) cancel(ctx context.Context, f *Facts, e Cancel) wire.ServerMessage {
	k := f.key(e.ID)
	subject := f.Subject
	if s.Registry.Authorize != nil {
		if state, _, err := s.Store.Read(ctx, k, 0, 0); err == nil && s.may(ctx, core.Cancel, f, &state) {
			subject = state.Subject
		}
	}
	_, err := s.Engine.Cancel(ctx, k, subject)
	switch {
	case errors.Is(err, store.ErrEnded):
		m := s.page(ctx, f, k, 0)
		m.Ref = e.Ref
		return m
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return s.failed(e.Ref, e.ID, err)
	}
	return OK(e.Ref)
}

func (s *Session) list(ctx context.Context, e List) wire.ServerMessage {
	calls, next, err := s.Store.List(ctx, e.Query, e.Cursor)
	if err != nil {
		return s.failed(e.Ref, "", err)
	}
	m := wire.ServerMessage{Type: wire.TypeCalls, Ref: e.Ref, Cursor: next, Calls: make([]wire.Summary, len(calls))}
	for i := range calls {
		m.Calls[i] = deliver.SummaryMessage(&calls[i])
	}
	return m
}

// may tells whether the connection may act on a call: its owner may, others of
// the tenant if the router's rule lets them.
func (s *Session) may(ctx context.Context, verb core.Verb, f *Facts, state *store.State) (allowed bool) {
	if state.Subject == f.Subject {
		return true
	}
	defer func() {
		if v := recover(); v != nil {
			allowed = false
			s.Logger.Error("Authorize panicked; it counts as no", "id", state.ID, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	return s.Registry.Authorize != nil && s.Registry.Authorize(ctx, core.Access{
		Verb: verb, Tenant: f.Tenant, Subject: f.Subject, Scopes: f.Scopes, Owner: state.Subject, Action: state.Action, ID: state.ID,
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
