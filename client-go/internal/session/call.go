package session

import (
	"slices"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Request is a request to submit.
type Request struct {
	ID string
	// Body is the encoded message.
	Body []byte
	// Hash is a hash of action and payload.
	Hash uint64
	// Sync says that the request is of mode sync.
	Sync bool
	// Pausable says that the call is not cancelled when nobody follows it.
	Pausable bool
	// EndOnly says that only the end of the call is of interest.
	EndOnly bool
}

// Call is one reader of a call.
type Call struct {
	Reader *follow.Reader
	// Signal is notified of each change.
	Signal Signal

	stream    *stream
	submitted bool
}

// ID returns the id of the call. It changes if the idempotency key belongs to
// an earlier call: then it is the id of that one.
func (c *Call) ID() string { return c.stream.id }

// State returns what is known of the call in addition to its events.
func (c *Call) State() follow.State { return c.stream.State }

// Accepted says whether the server is known to hold the call.
func (c *Call) Accepted() bool { return c.stream.Known }

// RequestSent says whether the call's request was ever sent; a call that was
// attached to needs none.
func (c *Call) RequestSent() bool {
	msg := c.pendingRequest()
	return msg == nil || msg.sent
}

// pendingRequest returns the call's request while it has no answer.
func (c *Call) pendingRequest() *message {
	if msg := c.stream.pending; msg != nil && msg.kind == request {
		return msg
	}
	return c.stream.queued
}

// Submit sends a request, or joins one with the same id that was submitted
// before.
func (m *Machine) Submit(now time.Duration, r *Request) (*Call, *wire.ServerMessage) {
	s, err := m.openStream(r.ID)
	if err != nil {
		return nil, err
	}
	if s.requested && s.hash != r.Hash {
		return nil, localError(wire.CodeConflict, "the id is in use for another action or payload", true)
	}
	c := &Call{Reader: follow.NewReader(m.cfg.Buffer, r.EndOnly), submitted: true}
	m.addCall(s, c)
	if !s.requested {
		s.requested, s.hash, s.Pausable = true, r.Hash, r.Pausable
		s.queued = &message{kind: request, body: r.Body, stream: s, sync: r.Sync, order: m.nextOrder()}
		s.queued.timer.owner = s.queued
	}
	m.update(now, s)
	return c, nil
}

// Attach follows a call by its id.
func (m *Machine) Attach(now time.Duration, id string) (*Call, *wire.ServerMessage) {
	s, err := m.openStream(id)
	if err != nil {
		return nil, err
	}
	c := &Call{Reader: follow.NewReader(m.cfg.Buffer, false)}
	m.addCall(s, c)
	m.update(now, s)
	return c, nil
}

// openStream returns the stream of an id, a new one if there is none.
func (m *Machine) openStream(id string) (*stream, *wire.ServerMessage) {
	if m.fatal != nil {
		return nil, m.fatal
	}
	if m.calls >= m.cfg.MaxCalls {
		return nil, localError(wire.CodeOverloaded, "this client already follows as many calls as MaxCalls allows", false)
	}
	s := m.streams[id]
	if s == nil {
		s = &stream{id: id, order: m.nextOrder()}
		s.timer.owner = s
		m.streams[id] = s
	}
	return s, nil
}

func (m *Machine) addCall(s *stream, c *Call) {
	c.stream = s
	s.AddReader(c.Reader)
	s.calls = append(s.calls, c)
	m.calls++
}

// Detach stops following. The call continues, unless its request was never
// sent.
func (m *Machine) Detach(now time.Duration, c *Call) {
	s := c.stream
	i := slices.Index(s.calls, c)
	if i < 0 {
		return
	}
	s.calls = slices.Delete(s.calls, i, i+1)
	s.RemoveReader(c.Reader)
	m.calls--
	c.Reader.Fail(localError(CodeDetached, "the call was detached", false))
	c.Signal.Notify()
	if len(s.calls) == 0 {
		if msg := c.pendingRequest(); msg != nil && !msg.sent {
			m.forget(msg)
			s.requested = false
		}
	}
	m.update(now, s)
}

// CodeDetached is the code of a reader that was detached. It is never sent.
const CodeDetached = "detached"

// NextEvent returns the next event of a call.
func (m *Machine) NextEvent(now time.Duration, c *Call) (follow.Event, bool) {
	e, ok := c.Reader.NextEvent()
	if ok && (c.Reader.CanResume() || !c.stream.Live) {
		m.update(now, c.stream)
	}
	return e, ok
}

// SetReading says whether somebody reads the events of a call now. Events that
// were dropped before are fetched again.
func (m *Machine) SetReading(now time.Duration, c *Call, reading bool) {
	rewound := c.Reader.SetReading(reading)
	if !rewound {
		m.update(now, c.stream)
		return
	}
	if !slices.Contains(c.stream.calls, c) {
		s, err := m.openStream(c.stream.id)
		if err != nil {
			c.Reader.Fail(err)
			return
		}
		if s.Epoch == 0 {
			s.Epoch = c.stream.Epoch
			s.Known, s.State = true, c.stream.State
		} else if s.Epoch != c.stream.Epoch {
			c.Reader.Restart(s.State.Attempt)
		}
		m.addCall(s, c)
	}
	m.update(now, c.stream)
}

// WaitEnd says that somebody waits for the end of a call.
func (m *Machine) WaitEnd(now time.Duration, c *Call) {
	c.Reader.WaitEnd()
	m.update(now, c.stream)
}

// Cancel asks the server to cancel a call. A request that was never sent ends
// at once.
func (m *Machine) Cancel(now time.Duration, c *Call) *Reply {
	r := &Reply{}
	s := c.stream
	switch msg := c.pendingRequest(); {
	case m.fatal != nil:
		r.complete(nil, m.fatal)
	case c.Reader.End() != nil && s.Ended():
		r.complete(nil, nil)
	case !s.removed && msg != nil && !msg.sent && !s.Known:
		m.failRequest(now, msg, localError(wire.CodeCancelled, "the call was cancelled before it was sent", true))
		r.complete(nil, nil)
	default:
		s.cancelSent = s.cancelSent || !s.Known
		m.sendCancel(now, s.id, r)
	}
	return r
}

func (m *Machine) sendCancel(now time.Duration, id string, r *Reply) {
	r.msg = &message{kind: cancel, reply: r}
	m.sendWithRef(now, r.msg, &wire.ClientMessage{Type: wire.TypeCancel, ID: id})
}

// List asks for a page of the caller's own calls.
func (m *Machine) List(now time.Duration, filter wire.ClientMessage) *Reply {
	r := &Reply{}
	if m.fatal != nil {
		r.complete(nil, m.fatal)
		return r
	}
	filter.Type = wire.TypeList
	r.msg = &message{kind: list, reply: r}
	m.sendWithRef(now, r.msg, &filter)
	return r
}

// DropReply says that nobody waits for a reply any more.
func (m *Machine) DropReply(r *Reply) {
	if !r.Done && r.msg != nil {
		m.forget(r.msg)
	}
}
