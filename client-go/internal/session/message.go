package session

import (
	"slices"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/wire"
)

type messageKind uint8

const (
	request messageKind = iota + 1
	cancel
	subscribe
	unsubscribe
	list
	auth
)

// message is a message without an answer. It waits for a connection (conn is
// nil), for the time to be sent again (delayed), or for its answer.
type message struct {
	kind   messageKind
	ref    string
	body   []byte
	stream *stream
	reply  *Reply
	sync   bool
	order  uint64

	conn         *conn
	delayed      bool
	sent         bool // at least once
	framesBefore int  // frames received on conn before it was sent
	resends      int  // how often it was sent again for want of an answer, or after a temporary refusal
	connLosses   int  // connections that were lost before the answer
	timer        timer
}

// sendWithRef gives a message a ref and sends it.
func (m *Machine) sendWithRef(now time.Duration, msg *message, c *wire.ClientMessage) {
	m.lastRef++
	c.Ref = strconv.Itoa(m.lastRef)
	msg.ref, msg.order = c.Ref, m.nextOrder()
	msg.body = c.Append(nil)
	msg.timer.owner = msg
	m.refs[msg.ref] = msg
	m.transmit(now, msg)
}

// canSend says whether a message may be sent on the connection now.
func (c *conn) canSend(kind messageKind) bool {
	if c.tokenExpired {
		return kind == auth
	}
	return !c.closing || kind != request
}

// transmit sends a message, or lets it wait for a connection.
func (m *Machine) transmit(now time.Duration, msg *message) {
	c := m.conn
	msg.delayed = false
	if c == nil || !c.canSend(msg.kind) {
		msg.conn = nil
		switch {
		case msg.sent || m.timing.Unsent < 0:
			m.timers.stop(&msg.timer)
		case msg.timer.index == 0:
			m.timers.reset(&msg.timer, now+m.timing.Unsent)
		}
		return
	}
	msg.conn, msg.sent, msg.framesBefore = c, true, c.framesReceived
	m.sendNow(now, c, msg.body)
	timeout := m.timing.Answer
	if msg.kind == request {
		timeout = m.timing.AnswerRequest
	}
	if msg.resends > 0 {
		timeout += m.backoff(msg.resends)
	}
	m.timers.reset(&msg.timer, now+timeout)
}

func (m *Machine) sendNow(now time.Duration, c *conn, body []byte) {
	c.lastSent = now
	m.addOutput(Output{Verb: Send, Conn: c.gen, Body: body})
}

// resend sends a message again.
func (m *Machine) resend(now time.Duration, msg *message) {
	msg.resends++
	m.transmit(now, msg)
}

// resendLater sends a message again after a wait.
func (m *Machine) resendLater(now time.Duration, msg *message, atLeast time.Duration) {
	msg.resends++
	msg.conn, msg.delayed = nil, true
	m.timers.reset(&msg.timer, now+max(atLeast, m.backoff(msg.resends)))
}

// onTimer sends a message again that was not answered, or fails it.
func (msg *message) onTimer(m *Machine, now time.Duration) {
	switch {
	case msg.delayed:
		m.transmit(now, msg)
	case msg.conn == nil:
		m.failUnanswered(now, msg, "there was no connection to send it on")
	default:
		if c := msg.conn; c.framesReceived == msg.framesBefore {
			m.sendPing(now, c)
		}
		if msg.sync || msg.resends >= maxResends || msg.kind == request && len(msg.stream.calls) == 0 {
			m.failUnanswered(now, msg, "the server did not answer in time")
			return
		}
		m.resend(now, msg)
	}
}

// failUnanswered fails a message with the code unavailable.
func (m *Machine) failUnanswered(now time.Duration, msg *message, text string) {
	err := localError(wire.CodeUnavailable, text, false)
	m.forget(msg)
	switch msg.kind {
	case request:
		m.failRequest(now, msg, err)
	case subscribe:
		m.onSubscribeFailed(now, msg, err, 0)
	case unsubscribe:
		m.update(now, msg.stream)
	case auth:
		m.scheduleTokenRetry(now)
	default:
		msg.reply.complete(nil, err)
	}
}

// failRequest ends the calls that were started by a request.
func (m *Machine) failRequest(now time.Duration, msg *message, err *wire.ServerMessage) {
	s := msg.stream
	m.forget(msg)
	for _, c := range s.calls {
		if c.submitted {
			c.Reader.Fail(err)
		}
	}
	s.requested = false
	m.update(now, s)
}

// onSubscribeFailed handles a subscribe that got no page. Another is sent
// later; a stream that the server was never known to hold fails in the end.
func (m *Machine) onSubscribeFailed(now time.Duration, msg *message, err *wire.ServerMessage, atLeast time.Duration) {
	s := msg.stream
	if s.refusals++; !s.Known && s.refusals > maxResends {
		m.failStream(s, err)
		return
	}
	s.Postpone(now, atLeast)
	m.update(now, s)
}

// forget removes a message: it needs no answer any more.
func (m *Machine) forget(msg *message) {
	m.timers.stop(&msg.timer)
	if msg.ref != "" {
		delete(m.refs, msg.ref)
	}
	if s := msg.stream; s != nil {
		if s.pending == msg {
			s.pending = nil
		}
		if s.queued == msg {
			s.queued = nil
		}
	}
}

// requeue lets the requests, cancels and lists that a lost connection carried
// wait for another one. Subscribes and unsubscribes are not sent again: each
// stream is asked for its next command instead.
func (m *Machine) requeue(now time.Duration, c *conn) {
	for _, msg := range m.unansweredMessages() {
		if msg.conn != c {
			continue
		}
		msg.conn = nil
		s := msg.stream
		nobodyWaits := msg.kind == request && len(s.calls) == 0
		if nobodyWaits || msg.kind == subscribe || msg.kind == unsubscribe || msg.kind == auth {
			m.forget(msg)
			if s != nil {
				m.update(now, s)
			}
			continue
		}
		msg.resends = 0
		if msg.connLosses++; msg.connLosses > maxLosses {
			m.failUnanswered(now, msg, "the connection was lost each time that it was sent")
			continue
		}
		m.transmit(now, msg)
	}
}

// resume sends the messages that wait for a connection, and updates all
// streams.
func (m *Machine) resume(now time.Duration) {
	for _, msg := range m.unansweredMessages() {
		if msg.conn == nil && !msg.delayed {
			m.transmit(now, msg)
		}
	}
	for _, s := range m.sortedStreams() {
		m.update(now, s)
	}
}

// update does what is due for a stream after an input: it removes readers that
// have their end, notifies the waiting goroutines, sends the next command and
// sets the timer.
func (m *Machine) update(now time.Duration, s *stream) {
	if s.removed {
		return
	}
	for _, c := range s.calls {
		c.Signal.Notify()
		if c.Reader.Finished() {
			s.RemoveReader(c.Reader)
			m.calls--
		}
	}
	s.calls = slices.DeleteFunc(s.calls, func(c *Call) bool { return c.Reader.Finished() })
	if s.pending != nil {
		m.timers.stop(&s.timer)
		return
	}
	if s.queued != nil {
		s.pending, s.queued = s.queued, nil
		m.transmit(now, s.pending)
		return
	}
	if len(s.calls) == 0 {
		m.unsubscribeOrRemove(now, s)
		return
	}
	if m.conn == nil || !m.conn.canSend(subscribe) {
		m.timers.stop(&s.timer)
		return
	}
	if next := s.NextCommand(now); next.Verb != follow.Nothing {
		m.sendSubscribe(now, s, next)
		return
	}
	if at := s.Deadline(now); s.timer.index == 0 || at < s.timer.at {
		m.timers.reset(&s.timer, at)
	}
}

// sendSubscribe sends a stream's subscribe or unsubscribe.
func (m *Machine) sendSubscribe(now time.Duration, s *stream, next follow.Command) {
	m.timers.stop(&s.timer)
	s.OnCommandSent(now, next)
	msg := &message{kind: unsubscribe, stream: s}
	c := wire.ClientMessage{Type: wire.TypeUnsubscribe, ID: s.id}
	if next.Verb == follow.Subscribe {
		msg.kind = subscribe
		c.Type, c.After, c.Epoch = wire.TypeSubscribe, next.After, next.Epoch
	}
	s.pending = msg
	m.sendWithRef(now, msg, &c)
}

// unsubscribeOrRemove removes a stream without readers, once the server does
// not send its events any more.
func (m *Machine) unsubscribeOrRemove(now time.Duration, s *stream) {
	if !s.Ended() && s.conn != nil && s.conn == m.conn && m.conn.canSend(unsubscribe) {
		s.conn = nil
		m.sendSubscribe(now, s, follow.Command{Verb: follow.Unsubscribe})
		return
	}
	m.removeStream(s)
}

func (m *Machine) removeStream(s *stream) {
	m.timers.stop(&s.timer)
	for _, msg := range []*message{s.pending, s.queued} {
		if msg != nil {
			m.forget(msg)
		}
	}
	delete(m.streams, s.id)
	s.removed = true
}

// failStream ends all readers of a stream, and removes it.
func (m *Machine) failStream(s *stream, err *wire.ServerMessage) {
	for _, c := range s.calls {
		c.Reader.Fail(err)
		s.RemoveReader(c.Reader)
		c.Signal.Notify()
	}
	m.calls -= len(s.calls)
	s.calls = nil
	m.removeStream(s)
}
