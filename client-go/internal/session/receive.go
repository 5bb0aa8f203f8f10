package session

import (
	"bytes"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Received handles the messages of a frame: an empty one if the frame is not a
// message of the protocol. They are not kept.
func (m *Machine) Received(now time.Duration, gen int, msgs []wire.ServerMessage) {
	c := m.conns[gen]
	if c == nil {
		return
	}
	c.framesReceived++
	for i := range msgs {
		m.handleMessage(now, c, &msgs[i])
	}
}

func (m *Machine) handleMessage(now time.Duration, c *conn, msg *wire.ServerMessage) {
	switch msg.Type {
	case "":
		m.addOutput(Output{Verb: LogWarning, Text: "received a frame that is not a message of the protocol"})
		// A gateway's error does not say which message it is about, so all
		// unanswered ones are sent again a little later.
		if c.foreign.index == 0 {
			m.timers.reset(&c.foreign, now+m.timing.Foreign)
		}
	case wire.TypeAck, wire.TypeChunk, wire.TypeAttempt, wire.TypeResult:
		m.onEvent(now, c, msg)
	case wire.TypeProgress:
		if s := m.streams[msg.ID]; s != nil {
			s.OnProgress(now, &wire.Progress{Attempt: msg.Attempt, Rev: msg.Rev, Percent: msg.Percent, Message: msg.Message})
			m.update(now, s)
		}
	case wire.TypeError:
		m.onError(now, c, msg)
	case wire.TypeSnapshot:
		m.onSnapshot(now, c, msg)
	case wire.TypeLag:
		if s := m.streams[msg.ID]; s != nil && c == m.conn {
			s.OnLag(now, msg.LastSeq)
			m.update(now, s)
		}
	case wire.TypeOK, wire.TypeCalls:
		if pending := m.refs[msg.Ref]; pending != nil {
			m.onAnswered(c, pending)
			m.onOK(now, c, pending, msg)
		}
	case wire.TypeClosing:
		m.onClosing(now, c, msg)
	}
}

// onAnswered forgets a message that was answered on a connection.
func (m *Machine) onAnswered(c *conn, pending *message) {
	m.markAnswered(c)
	m.forget(pending)
}

// onOK handles an ok, or the answer to a list.
func (m *Machine) onOK(now time.Duration, c *conn, pending *message, msg *wire.ServerMessage) {
	switch pending.kind {
	case auth:
		m.onAuthAnswer(now, c, nil)
	case unsubscribe:
		if c == m.conn {
			pending.stream.Live = false
			pending.stream.conn = nil
		}
		m.update(now, pending.stream)
	default:
		pending.reply.complete(msg, nil)
	}
}

// onEvent handles an ack, a chunk, an attempt mark or an end.
func (m *Machine) onEvent(now time.Duration, c *conn, msg *wire.ServerMessage) {
	s := m.streams[msg.ID]
	if s == nil {
		return
	}
	pending := s.pending
	if pending != nil && pending.kind != request {
		pending = nil
	}
	switch {
	case pending == nil && msg.Type == wire.TypeAck:
		// An old one. Only its epoch is of use, if that is not known yet.
		if s.Epoch == 0 {
			s.Epoch = msg.Epoch
		}
		if s.Epoch != msg.Epoch {
			return
		}
		s.OnEvent(now, msg, true)
	case pending == nil:
		s.OnEvent(now, msg, c == s.conn)
	default:
		m.onAnswered(c, pending)
		if msg.Seq == 0 {
			s.OnEvent(now, msg, true)
			break
		}
		s.conn = c
		if msg.Type == wire.TypeAck {
			s.OnAck(now, msg, c == m.conn)
		} else {
			s.OnAccepted(c == m.conn)
			s.OnEvent(now, msg, true)
		}
	}
	m.update(now, s)
}

// onSnapshot handles a page: the answer to a subscribe, to a request that the
// server had already received, or to a cancel after the end.
func (m *Machine) onSnapshot(now time.Duration, c *conn, msg *wire.ServerMessage) {
	isAnswer := false
	if pending := m.refs[msg.Ref]; pending != nil {
		m.onAnswered(c, pending)
		isAnswer = pending.kind == subscribe
		pending.reply.complete(nil, nil)
	}
	id := msg.ID
	if msg.For != "" {
		id = msg.For
	}
	s := m.streams[id]
	if s == nil {
		return
	}
	if pending := s.pending; pending != nil && pending.kind == request && msg.Ref == "" {
		m.onAnswered(c, pending)
		isAnswer = true
		if s.id != msg.ID {
			s, isAnswer = m.moveToCall(now, s, msg.ID)
		}
	} else if s.id != msg.ID {
		return
	}
	if isAnswer {
		s.conn = c
		s.refusals = 0
	}
	s.OnPage(now, msg, isAnswer, c == m.conn)
	m.update(now, s)
}

// moveToCall moves the readers of a request to the call that already has its
// idempotency key. isAnswer says that the page is the first that is known of
// that call.
func (m *Machine) moveToCall(now time.Duration, s *stream, id string) (_ *stream, isAnswer bool) {
	delete(m.streams, s.id)
	if s.cancelSent {
		m.sendCancel(now, id, &Reply{})
	}
	target := m.streams[id]
	if target == nil {
		s.id = id
		m.streams[id] = s
		return s, true
	}
	for _, c := range s.calls {
		m.calls-- // addCall counts it again
		m.addCall(target, c)
	}
	s.calls = nil
	m.timers.stop(&s.timer)
	s.removed = true
	return target, false
}

// onError handles an error: a refusal, or the end of a call.
func (m *Machine) onError(now time.Duration, c *conn, msg *wire.ServerMessage) {
	if msg.Ref != "" {
		if pending := m.refs[msg.Ref]; pending != nil {
			m.markAnswered(c)
			m.onRefused(now, c, pending, msg)
		}
		return
	}
	s := m.streams[msg.ID]
	switch {
	case s == nil:
		if msg.ID == "" {
			m.addOutput(Output{Verb: LogWarning, Text: "the server refused a message without saying which: " + msg.Code})
		}
	case msg.Seq > 0:
		m.onEvent(now, c, msg)
	case s.pending != nil && s.pending.kind == request:
		m.markAnswered(c)
		m.onRequestError(now, c, s.pending, msg)
	}
}

func isNotFinal(msg *wire.ServerMessage) bool { return msg.Final != nil && !*msg.Final }

func isRetryable(msg *wire.ServerMessage) bool { return msg.Retryable != nil && *msg.Retryable }

func retryAfter(msg *wire.ServerMessage) time.Duration {
	return time.Duration(min(msg.RetryAfterMs, maxClosingMs)) * time.Millisecond
}

// onRequestError handles an error without seq that names a request: a refusal,
// or the end of an inline run.
func (m *Machine) onRequestError(now time.Duration, c *conn, pending *message, msg *wire.ServerMessage) {
	s := pending.stream
	switch {
	case msg.Code == wire.CodeTokenExpired && pending.resends < maxResends && m.onTokenExpired(c):
		m.resend(now, pending) // once there is a fresh token
	case msg.Code == wire.CodeSuperseded && isNotFinal(msg):
		m.forget(pending) // the server has stored another run of it: follow that
		s.Known = true
		m.update(now, s)
	case isNotFinal(msg) && isRetryable(msg) && !pending.sync && pending.resends < maxResends && len(s.calls) > 0:
		m.resendLater(now, pending, retryAfter(msg))
	default:
		m.failRequest(now, pending, msg)
	}
}

// onRefused handles the refusal of a message with a ref.
func (m *Machine) onRefused(now time.Duration, c *conn, pending *message, msg *wire.ServerMessage) {
	expired := msg.Code == wire.CodeTokenExpired && m.onTokenExpired(c)
	if pending.reply != nil { // a cancel or a list
		switch {
		case expired && pending.resends < maxResends:
			m.resend(now, pending) // once there is a fresh token
		case isRetryable(msg) && pending.resends < maxResends:
			m.resendLater(now, pending, retryAfter(msg))
		default:
			m.forget(pending)
			refusal := *msg
			refusal.Details = bytes.Clone(msg.Details)
			pending.reply.complete(nil, &refusal)
		}
		return
	}
	m.forget(pending)
	switch s := pending.stream; {
	case pending.kind == auth:
		m.onAuthAnswer(now, c, msg)
	case pending.kind == unsubscribe:
		s.Live = false
		m.update(now, s)
	case expired:
		m.update(now, s)
	case isRetryable(msg):
		m.onSubscribeFailed(now, pending, msg, retryAfter(msg))
	default:
		m.failStream(s, msg)
	}
}
