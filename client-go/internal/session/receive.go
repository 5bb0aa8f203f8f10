package session

import (
	"bytes"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Received takes the messages of a frame. They are not kept.
func (m *Machine) Received(now time.Duration, gen int, msgs []wire.ServerMessage) {
	c := m.find(gen)
	if c == nil {
		return
	}
	c.frames++
	for i := range msgs {
		m.receive(now, c, &msgs[i])
	}
}

// Foreign takes a frame that is no message of the protocol.
func (m *Machine) Foreign(now time.Duration, gen int) {
	if c := m.find(gen); c != nil {
		c.frames++
		m.foreignFrame(now, c)
	}
}

func (m *Machine) receive(now time.Duration, c *conn, msg *wire.ServerMessage) {
	switch msg.Type {
	case "":
		m.emit(Output{Verb: Complain, Text: "a foreign frame came"})
		m.foreignFrame(now, c)
	case wire.TypeAck, wire.TypeChunk, wire.TypeAttempt, wire.TypeResult:
		m.event(now, c, msg)
	case wire.TypeProgress:
		if s := m.streams[msg.ID]; s != nil {
			s.OnProgress(now, &wire.Progress{Attempt: msg.Attempt, Rev: msg.Rev, Percent: msg.Percent, Message: msg.Message})
			m.touch(now, s)
		}
	case wire.TypeError:
		m.refusal(now, c, msg)
	case wire.TypeSnapshot:
		m.snapshot(now, c, msg)
	case wire.TypeLag:
		if s := m.streams[msg.ID]; s != nil && c == m.conn {
			s.OnLag(now, msg.LastSeq)
			m.touch(now, s)
		}
	case wire.TypeOK:
		if q := m.refs[msg.Ref]; q != nil {
			m.use(c)
			m.forget(q)
			m.accepted(now, c, q)
		}
	case wire.TypeCalls:
		if q := m.refs[msg.Ref]; q != nil {
			m.use(c)
			m.forget(q)
			q.reply.settle(msg, nil)
		}
	case wire.TypeClosing:
		m.closing(now, c, msg)
	}
}

// accepted takes an ok.
func (m *Machine) accepted(now time.Duration, c *conn, q *message) {
	switch q.kind {
	case auth:
		m.authed(now, c, nil)
	case unsubscribe:
		if c == m.conn {
			q.s.OnUnsubscribed()
			q.s.on = nil
		}
		m.touch(now, q.s)
	default:
		q.reply.settle(nil, nil)
	}
}

// event takes an ack, a chunk, an attempt mark or an end.
func (m *Machine) event(now time.Duration, c *conn, msg *wire.ServerMessage) {
	s := m.streams[msg.ID]
	if s == nil {
		return
	}
	q := s.sent
	if q != nil && q.kind != request {
		q = nil
	}
	switch {
	case q == nil && msg.Type == wire.TypeAck:
		// A late one. It matters only for the epoch, if that is not known.
		if s.Epoch() == 0 {
			s.SetEpoch(msg.Epoch)
		}
		if s.Epoch() != msg.Epoch {
			return
		}
		s.OnEvent(now, msg, true)
	case q == nil:
		s.OnEvent(now, msg, c == s.on)
	default:
		m.use(c)
		m.forget(q)
		if msg.Seq == 0 {
			s.OnEvent(now, msg, true)
			break
		}
		s.on = c
		if msg.Type == wire.TypeAck {
			s.OnAck(now, msg, c == m.conn)
		} else {
			s.OnAccepted(c == m.conn)
			s.OnEvent(now, msg, true)
		}
	}
	m.touch(now, s)
}

// snapshot takes a page: the answer to a subscribe, to a request that was seen
// before, or to a cancel after the end.
func (m *Machine) snapshot(now time.Duration, c *conn, msg *wire.ServerMessage) {
	asked := false
	if q := m.refs[msg.Ref]; q != nil && msg.Ref != "" {
		m.use(c)
		m.forget(q)
		asked = q.kind == subscribe
		q.reply.settle(nil, nil)
	}
	id := msg.ID
	if msg.For != "" {
		id = msg.For
	}
	s := m.streams[id]
	if s == nil {
		return
	}
	if q := s.sent; q != nil && q.kind == request && msg.Ref == "" {
		m.use(c)
		m.forget(q)
		asked = true
		if s.id != msg.ID {
			s, asked = m.rename(now, s, msg.ID)
		}
	} else if s.id != msg.ID {
		return
	}
	if asked {
		s.on = c
		s.refusals = 0
	}
	s.OnPage(now, msg, asked, c == m.conn)
	m.touch(now, s)
}

// rename has those who sent a request follow the call that has its key. asked
// tells that the page is the first word about it.
func (m *Machine) rename(now time.Duration, s *stream, id string) (_ *stream, asked bool) {
	delete(m.streams, s.id)
	if s.cancelled {
		m.addCancel(now, id, nil)
	}
	to := m.streams[id]
	if to == nil {
		s.id = id
		m.streams[id] = s
		return s, true
	}
	for _, c := range s.calls {
		s.RemoveReader(c.Reader)
		to.AddReader(c.Reader)
		c.s = to
	}
	to.calls = append(to.calls, s.calls...)
	s.calls = nil
	m.timers.stop(&s.timer)
	s.removed = true
	return to, false
}

// refusal takes an error: a refusal, or the end of a call.
func (m *Machine) refusal(now time.Duration, c *conn, msg *wire.ServerMessage) {
	if msg.Ref != "" {
		if q := m.refs[msg.Ref]; q != nil {
			m.use(c)
			m.refused(now, c, q, msg)
		}
		return
	}
	s := m.streams[msg.ID]
	switch {
	case s == nil:
		if msg.ID == "" {
			m.emit(Output{Verb: Complain, Text: "the server refused a message that it could not name: " + msg.Code})
		}
	case msg.Seq > 0:
		m.event(now, c, msg)
	case s.sent != nil && s.sent.kind == request:
		m.use(c)
		m.requestRefused(now, c, s.sent, msg)
	}
}

// forNow tells whether a refusal is of this moment only: then the client sends
// again by itself.
func forNow(msg *wire.ServerMessage) bool {
	return msg.Final != nil && !*msg.Final && msg.Retryable != nil && *msg.Retryable
}

func retryAfter(msg *wire.ServerMessage) time.Duration {
	return time.Duration(min(msg.RetryAfterMs, maxClosingMs)) * time.Millisecond
}

// requestRefused takes an error without seq that names a request: a refusal,
// or the end of an inline run.
func (m *Machine) requestRefused(now time.Duration, c *conn, q *message, msg *wire.ServerMessage) {
	s := q.s
	switch {
	case msg.Code == wire.CodeTokenExpired && q.tries < resends && m.expire(c):
		q.tries++
		m.wait(now, q)
	case msg.Code == wire.CodeSuperseded && msg.Final != nil && !*msg.Final:
		m.forget(q) // another run of it is stored: follow that
		s.Known = true
		m.touch(now, s)
	case forNow(msg) && !q.sync && q.tries < resends && len(s.calls) > 0:
		m.hold(now, q, retryAfter(msg))
	default:
		m.forget(q)
		m.failRequest(now, q, msg)
	}
}

// wait has a message wait for a fresh token.
func (m *Machine) wait(now time.Duration, q *message) {
	m.timers.stop(&q.timer)
	q.conn = nil
	m.transmit(now, q)
}

// refused takes the refusal of a message with a ref.
func (m *Machine) refused(now time.Duration, c *conn, q *message, msg *wire.ServerMessage) {
	expired := msg.Code == wire.CodeTokenExpired && m.expire(c)
	switch q.kind {
	case auth:
		m.forget(q)
		m.authed(now, c, msg)
	case unsubscribe:
		m.forget(q)
		q.s.OnUnsubscribed()
		m.touch(now, q.s)
	case subscribe:
		switch {
		case expired:
			m.forget(q)
			m.touch(now, q.s)
		case msg.Retryable != nil && *msg.Retryable:
			m.noPage(now, q, msg, retryAfter(msg))
		default:
			m.failStream(q.s, msg)
		}
	default:
		switch {
		case expired && q.tries < resends:
			q.tries++
			m.wait(now, q)
		case msg.Retryable != nil && *msg.Retryable && q.tries < resends:
			m.hold(now, q, retryAfter(msg))
		default:
			m.forget(q)
			own := *msg
			own.Details = bytes.Clone(msg.Details)
			q.reply.settle(nil, &own)
		}
	}
}
