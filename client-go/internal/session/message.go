package session

import (
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/wire"
)

type kind uint8

const (
	request kind = iota + 1
	cancel
	subscribe
	unsubscribe
	list
	auth
)

// message is one that has no answer yet. It waits for a connection (conn is
// nil), waits for its time (held), or is under way.
type message struct {
	kind  kind
	ref   string
	body  []byte
	s     *stream
	reply *Reply
	sync  bool
	order uint64

	conn   *conn
	held   bool
	sent   bool // ever
	frames int  // how many had come on conn when it was sent
	tries  int  // resends over an answer that did not come, or was a refusal for now
	losses int  // connections lost over it
	timer  timer
}

// add takes a message that carries a ref into the ledger and sends it.
func (m *Machine) add(now time.Duration, msg *message, c *wire.ClientMessage) {
	c.Ref = m.newRef()
	msg.ref, msg.order = c.Ref, m.next()
	msg.body = c.Append(nil)
	msg.timer.alarm = msg
	m.refs[msg.ref] = msg
	m.transmit(now, msg)
}

// takes tells whether a message may be sent on the connection now.
func (c *conn) takes(k kind) bool {
	if c.expired {
		return k == auth
	}
	return !c.closing || k != request
}

// transmit sends a message, or has it wait for a connection.
func (m *Machine) transmit(now time.Duration, msg *message) {
	c := m.conn
	msg.held = false
	if c == nil || !c.takes(msg.kind) {
		msg.conn = nil
		switch {
		case msg.sent || m.t.Unsent < 0:
			m.timers.stop(&msg.timer)
		case msg.timer.index == 0:
			m.timers.set(&msg.timer, now+m.t.Unsent)
		}
		return
	}
	msg.conn, msg.sent, msg.frames = c, true, c.frames
	m.send(now, c, msg.body)
	by := m.t.Answer
	if msg.kind == request {
		by = m.t.AnswerRequest
	}
	if msg.tries > 0 {
		by += m.backoff(msg.tries)
	}
	m.timers.set(&msg.timer, now+by)
}

func (m *Machine) send(now time.Duration, c *conn, body []byte) {
	c.said = now
	m.emit(Output{Verb: Send, Conn: c.gen, Body: body})
}

// hold has a message wait before it is sent again.
func (m *Machine) hold(now time.Duration, msg *message, atLeast time.Duration) {
	msg.tries++
	msg.conn, msg.held = nil, true
	m.timers.set(&msg.timer, now+max(atLeast, m.backoff(msg.tries)))
}

// ring sends a message again that was not answered, or gives up.
func (msg *message) ring(m *Machine, now time.Duration) {
	switch {
	case msg.held:
		m.transmit(now, msg)
	case msg.conn == nil:
		m.giveUp(now, msg, "there was no connection to send it on")
	default:
		if c := msg.conn; c.frames == msg.frames {
			m.probe(now, c)
		}
		if msg.sync || msg.tries >= resends || msg.kind == request && len(msg.s.calls) == 0 {
			m.giveUp(now, msg, "nobody answered")
			return
		}
		msg.tries++
		m.transmit(now, msg)
	}
}

// giveUp fails a message as unavailable.
func (m *Machine) giveUp(now time.Duration, msg *message, text string) {
	err := fault(wire.CodeUnavailable, text, false)
	switch msg.kind {
	case request:
		m.failRequest(now, msg, err)
	case subscribe:
		m.noPage(now, msg, err, 0)
	case unsubscribe:
		m.forget(msg)
		m.touch(now, msg.s)
	case auth:
		m.forget(msg)
		m.authLater(now)
	default:
		m.forget(msg)
		msg.reply.settle(nil, err)
	}
}

// failRequest ends the calls that were started by a request.
func (m *Machine) failRequest(now time.Duration, msg *message, err *wire.ServerMessage) {
	s := msg.s
	m.forget(msg)
	for _, c := range s.calls {
		if c.submitted {
			c.Reader.Fail(err)
		}
	}
	s.asked = false
	m.touch(now, s)
}

// noPage does what follows from a subscribe that brought none: what was never
// seen ends, what was is asked for again later.
func (m *Machine) noPage(now time.Duration, msg *message, err *wire.ServerMessage, atLeast time.Duration) {
	s := msg.s
	m.forget(msg)
	if s.refusals++; !s.Known && s.refusals > resends {
		m.failStream(s, err)
		return
	}
	s.Postpone(now, atLeast)
	m.touch(now, s)
}

// forget takes a message out of the ledger.
func (m *Machine) forget(msg *message) {
	m.timers.stop(&msg.timer)
	if msg.ref != "" {
		delete(m.refs, msg.ref)
	}
	if s := msg.s; s != nil {
		if s.sent == msg {
			s.sent = nil
		}
		if s.later == msg {
			s.later = nil
		}
	}
}

// requeue has the messages that a lost connection carried wait for another
// one. What is said about streams is not repeated but decided anew.
func (m *Machine) requeue(now time.Duration, c *conn) {
	for _, msg := range m.unanswered() {
		if msg.conn != c {
			continue
		}
		msg.conn = nil
		switch msg.kind {
		case subscribe, unsubscribe, auth:
			m.forget(msg)
			if msg.s != nil {
				m.touch(now, msg.s)
			}
			continue
		case request:
			if len(msg.s.calls) == 0 { // all have left: it is not sent again
				m.forget(msg)
				m.touch(now, msg.s)
				continue
			}
		}
		msg.tries = 0
		if msg.losses++; msg.losses > maxLosses {
			m.giveUp(now, msg, "the connection was lost each time that it was sent")
			continue
		}
		m.transmit(now, msg)
	}
}

// resume sends what waits for a connection and decides anew about the streams.
func (m *Machine) resume(now time.Duration) {
	for _, msg := range m.unanswered() {
		if msg.conn == nil && !msg.held {
			m.transmit(now, msg)
		}
	}
	for _, s := range m.sorted() {
		m.touch(now, s)
	}
}

// touch does what an input made due for a stream: lets go of readers that have
// their end, wakes those who wait, says what is to be said, sets the timer.
func (m *Machine) touch(now time.Duration, s *stream) {
	if s.removed {
		return
	}
	kept := s.calls[:0]
	for _, c := range s.calls {
		if c.Reader.Finished() {
			s.RemoveReader(c.Reader)
			m.calls--
		} else {
			kept = append(kept, c)
		}
		c.Signal.Fire()
	}
	clear(s.calls[len(kept):])
	s.calls = kept
	if s.sent != nil {
		m.timers.stop(&s.timer)
		return
	}
	if s.later != nil {
		s.sent, s.later = s.later, nil
		m.transmit(now, s.sent)
		return
	}
	if len(s.calls) == 0 {
		m.leave(now, s)
		return
	}
	if m.conn == nil || !m.conn.takes(subscribe) {
		m.timers.stop(&s.timer)
		return
	}
	if w := s.NextCommand(now); w.Verb != follow.Nothing {
		m.say(now, s, w)
		return
	}
	if at := s.Deadline(now); s.timer.index == 0 || at < s.timer.at {
		m.timers.set(&s.timer, at)
	}
}

// say sends what a stream wants to have said.
func (m *Machine) say(now time.Duration, s *stream, w follow.Command) {
	m.timers.stop(&s.timer)
	s.OnCommandSent(now, w)
	msg := &message{kind: unsubscribe, s: s}
	c := wire.ClientMessage{Type: wire.TypeUnsubscribe, ID: s.id}
	if w.Verb == follow.Subscribe {
		msg.kind = subscribe
		c.Type, c.After, c.Epoch = wire.TypeSubscribe, w.After, w.Epoch
	}
	s.sent = msg
	m.add(now, msg, &c)
}

// leave lets go of a stream that nobody reads any more.
func (m *Machine) leave(now time.Duration, s *stream) {
	if !s.Ended() && s.on != nil && s.on == m.conn && m.conn.takes(unsubscribe) {
		s.on = nil
		m.say(now, s, follow.Command{Verb: follow.Unsubscribe})
		return
	}
	m.remove(s)
}

func (m *Machine) remove(s *stream) {
	m.timers.stop(&s.timer)
	for _, msg := range []*message{s.sent, s.later} {
		if msg != nil {
			m.forget(msg)
		}
	}
	delete(m.streams, s.id)
	s.removed = true
}

// failStream ends all who read a stream, and lets go of it.
func (m *Machine) failStream(s *stream, err *wire.ServerMessage) {
	for _, c := range s.calls {
		c.Reader.Fail(err)
		s.RemoveReader(c.Reader)
		c.Signal.Fire()
		m.calls--
	}
	s.calls = nil
	m.remove(s)
}
