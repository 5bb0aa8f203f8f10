package session

import (
	"slices"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Request is a request to be submitted.
type Request struct {
	ID string
	// Body is the message, encoded.
	Body []byte
	// Sum is a hash of action and payload.
	Sum uint64
	// Sync tells that it is of mode sync.
	Sync bool
	// Pausable tells that the call does not end for want of followers.
	Pausable bool
	// Skip tells that only its end matters.
	Skip bool
}

// Call is one who follows a call.
type Call struct {
	Reader *follow.Reader
	// Signal fires at each change.
	Signal Signal

	s         *stream
	submitted bool
}

// ID returns the id of the call that is followed: after a hit by idempotency
// key the one that first brought the key.
func (c *Call) ID() string { return c.s.id }

// State returns what is known of the call beside its events.
func (c *Call) State() follow.State { return c.s.State }

// Accepted tells whether the server is known to hold the call.
func (c *Call) Accepted() bool { return c.s.Known }

// Sent tells whether the call's request was ever sent; a call that was attached
// needs none.
func (c *Call) Sent() bool {
	msg := c.request()
	return msg == nil || msg.sent
}

// request returns the call's request while it has no answer.
func (c *Call) request() *message {
	if msg := c.s.sent; msg != nil && msg.kind == request {
		return msg
	}
	return c.s.later
}

// Submit sends a request, or joins one with the same id that is under way.
func (m *Machine) Submit(now time.Duration, r *Request) (*Call, *wire.ServerMessage) {
	s, err := m.open(r.ID)
	if err != nil {
		return nil, err
	}
	if s.asked && s.sum != r.Sum {
		return nil, fault(wire.CodeConflict, "the id is in use for another action or payload", true)
	}
	c := m.join(s, follow.NewReader(m.cfg.Buffer, r.Skip))
	c.submitted = true
	if !s.asked {
		s.asked, s.sum, s.Pausable = true, r.Sum, r.Pausable
		msg := &message{kind: request, body: r.Body, s: s, sync: r.Sync, order: m.next()}
		msg.timer.alarm = msg
		if s.sent == nil {
			s.sent = msg
			m.transmit(now, msg)
		} else {
			s.later = msg
		}
		return c, nil
	}
	m.touch(now, s)
	return c, nil
}

// Attach follows a call that was started elsewhere.
func (m *Machine) Attach(now time.Duration, id string, skip bool) (*Call, *wire.ServerMessage) {
	s, err := m.open(id)
	if err != nil {
		return nil, err
	}
	c := m.join(s, follow.NewReader(m.cfg.Buffer, skip))
	m.touch(now, s)
	return c, nil
}

// open returns the stream of an id, a new one if there is none.
func (m *Machine) open(id string) (*stream, *wire.ServerMessage) {
	if m.fatal != nil {
		return nil, m.fatal
	}
	if m.calls >= m.cfg.MaxCalls {
		return nil, fault(wire.CodeOverloaded, "this client follows as many calls as it may", false)
	}
	s := m.streams[id]
	if s == nil {
		s = &stream{id: id, order: m.next()}
		s.timer.alarm = s
		m.streams[id] = s
	}
	return s, nil
}

func (m *Machine) join(s *stream, r *follow.Reader) *Call {
	c := &Call{Reader: r, s: s}
	s.AddReader(r)
	s.calls = append(s.calls, c)
	m.calls++
	return c
}

// Detach stops following. The call goes on, unless its request was never sent.
func (m *Machine) Detach(now time.Duration, c *Call) {
	s := c.s
	i := slices.Index(s.calls, c)
	if i < 0 {
		return
	}
	s.calls = slices.Delete(s.calls, i, i+1)
	s.RemoveReader(c.Reader)
	m.calls--
	c.Reader.Fail(fault(CodeDetached, "the call was detached", false))
	c.Signal.Fire()
	if len(s.calls) == 0 {
		if msg := c.request(); msg != nil && !msg.sent {
			m.forget(msg)
		}
	}
	m.touch(now, s)
}

// CodeDetached is the code of a reader that was detached. It is never on the
// wire.
const CodeDetached = "detached"

// Take hands out the next event of a call.
func (m *Machine) Take(now time.Duration, c *Call) (follow.Event, bool) {
	e, ok := c.Reader.NextEvent()
	if ok && (c.Reader.CanResume() || !c.s.IsLive()) {
		m.touch(now, c.s)
	}
	return e, ok
}

// Read says whether somebody takes the events of a call now. What was thrown
// away meanwhile is pulled again.
func (m *Machine) Read(now time.Duration, c *Call, reading bool) {
	rewound := c.Reader.SetReading(reading)
	if !rewound {
		m.touch(now, c.s)
		return
	}
	if !slices.Contains(c.s.calls, c) {
		s, err := m.open(c.s.id)
		if err != nil {
			c.Reader.Fail(err)
			return
		}
		if s.Epoch() == 0 {
			s.SetEpoch(c.s.Epoch())
			s.Known, s.State = true, c.s.State
		} else if s.Epoch() != c.s.Epoch() {
			c.Reader.Restart(s.State.Attempt)
		}
		c.s = s
		s.AddReader(c.Reader)
		s.calls = append(s.calls, c)
		m.calls++
	}
	m.touch(now, c.s)
}

// Hurry says that somebody waits for the end of a call.
func (m *Machine) Hurry(now time.Duration, c *Call) {
	c.Reader.WaitEnd()
	m.touch(now, c.s)
}

// Cancel asks for a call to be cancelled. A request that was never sent ends
// at once.
func (m *Machine) Cancel(now time.Duration, c *Call) *Reply {
	r := &Reply{}
	s := c.s
	switch msg := c.request(); {
	case m.fatal != nil:
		r.settle(nil, m.fatal)
	case c.Reader.End() != nil && s.Ended():
		r.settle(nil, nil)
	case !s.removed && msg != nil && !msg.sent && !s.Known:
		m.failRequest(now, msg, fault(wire.CodeCancelled, "the call was cancelled before it was sent", true))
		r.settle(nil, nil)
	default:
		s.cancelled = s.cancelled || !s.Known
		m.addCancel(now, s.id, r)
	}
	return r
}

func (m *Machine) addCancel(now time.Duration, id string, r *Reply) {
	msg := &message{kind: cancel, reply: r}
	if r != nil {
		r.msg = msg
	}
	m.add(now, msg, &wire.ClientMessage{Type: wire.TypeCancel, ID: id})
}

// List asks for a page of the caller's own calls.
func (m *Machine) List(now time.Duration, filter wire.ClientMessage) *Reply {
	r := &Reply{}
	if m.fatal != nil {
		r.settle(nil, m.fatal)
		return r
	}
	filter.Type = wire.TypeList
	r.msg = &message{kind: list, reply: r}
	m.add(now, r.msg, &filter)
	return r
}

// Abandon stops waiting for a reply.
func (m *Machine) Abandon(r *Reply) {
	if !r.Done && r.msg != nil {
		m.forget(r.msg)
	}
}
