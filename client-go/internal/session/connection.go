package session

import (
	"slices"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// drainStep is how often a connection that was replaced is looked at.
const drainStep = 100 * time.Millisecond

// conn is a connection that is open.
type conn struct {
	gen    int
	opened time.Duration
	// said is when the last message left, frames how many have come.
	said   time.Duration
	frames int
	// pinged is the number of frames before a ping that nothing followed yet;
	// -1: none is out.
	pinged int
	// used tells that something was answered on it.
	used bool
	// closing tells that the server is about to close it, final that it does
	// not want us back.
	closing, final bool
	// expired tells that the server refuses everything but auth.
	expired bool
	// until is when its token expires; never if that is not known.
	until time.Duration
	// retired is by when it is closed, once another has taken its place.
	retired time.Duration

	ping, life, drain, refresh, foreign timer
}

// The alarms of a connection.
type (
	dialAlarm    struct{}
	pingAlarm    struct{ c *conn }
	lifeAlarm    struct{ c *conn }
	drainAlarm   struct{ c *conn }
	refreshAlarm struct{ c *conn }
	foreignAlarm struct{ c *conn }
)

// connect opens a connection after a while, unless that is under way.
func (m *Machine) connect(now, after time.Duration) {
	if m.fatal != nil || m.dialing != 0 || m.dial.index != 0 && m.dial.at <= now+after {
		return
	}
	if after > 0 {
		m.timers.set(&m.dial, now+after)
		return
	}
	m.timers.stop(&m.dial)
	dialAlarm{}.ring(m, now)
}

func (dialAlarm) ring(m *Machine, _ time.Duration) {
	m.gen++
	m.dialing = m.gen
	m.emit(Output{Verb: Dial, Conn: m.gen})
}

// Opened takes the news that a connection is open. until is when its token
// expires; [follow.Never] if that is not known.
func (m *Machine) Opened(now time.Duration, gen int, until time.Duration) {
	if gen != m.dialing {
		m.emit(Output{Verb: Drop, Conn: gen, Code: wire.CloseNormal})
		return
	}
	before := m.conn
	c := &conn{gen: gen, opened: now, said: now, pinged: -1, until: until}
	c.ping.alarm, c.life.alarm, c.drain.alarm = pingAlarm{c}, lifeAlarm{c}, drainAlarm{c}
	c.refresh.alarm, c.foreign.alarm = refreshAlarm{c}, foreignAlarm{c}
	m.conn, m.dialing, m.ever, m.why = c, 0, true, nil
	m.timers.set(&c.ping, now+m.t.Ping)
	m.timers.set(&c.life, now+m.t.Life-m.jitter(m.t.LifeSpread))
	m.refreshAt(now, c)
	for _, s := range m.streams {
		s.OnDisconnect()
	}
	if before != nil {
		m.retire(now, before)
	}
	m.resume(now)
}

// DialFailed takes the news that a connection could not be opened. fatal tells
// that trying again cannot help.
func (m *Machine) DialFailed(now time.Duration, gen int, why *wire.ServerMessage, fatal bool) {
	if gen != m.dialing {
		return
	}
	m.dialing = 0
	if fatal {
		m.stop(now, why)
		return
	}
	if m.conn == nil {
		m.why = why
	}
	wait := m.backoff(m.fails)
	m.fails++
	m.connect(now, max(wait, time.Duration(why.RetryAfterMs)*time.Millisecond, 1))
}

// Lost takes the news that a connection is gone. code is the close code, or 0.
func (m *Machine) Lost(now time.Duration, gen, code int) {
	c := m.find(gen)
	if c == nil {
		return
	}
	m.release(c)
	if c != m.conn {
		m.old = slices.DeleteFunc(m.old, func(o *conn) bool { return o == c })
		m.requeue(now, c)
		return
	}
	m.conn = nil
	again, known := wire.Reconnects[code]
	if c.final || known && !again {
		m.stop(now, fault(wire.CodeUnavailable, "the server closed the connection and does not want another", true))
		return
	}
	m.why = fault(wire.CodeUnavailable, "the connection was lost", false)
	if c.used || now-c.opened >= settledAfter {
		m.fails = 0
	}
	for _, s := range m.streams {
		s.OnDisconnect()
		s.on = nil
	}
	m.requeue(now, c)
	for _, s := range m.sorted() {
		m.touch(now, s)
	}
	if m.dialing == 0 && m.dial.index == 0 {
		m.connect(now, max(m.backoff(m.fails), 1))
		m.fails++
	}
}

// use notes that a connection serves: the backoff of the next one begins anew.
func (m *Machine) use(c *conn) {
	if !c.used && c == m.conn {
		m.fails = 0
	}
	c.used = true
}

// find returns an open connection.
func (m *Machine) find(gen int) *conn {
	if m.conn != nil && m.conn.gen == gen {
		return m.conn
	}
	for _, c := range m.old {
		if c.gen == gen {
			return c
		}
	}
	return nil
}

// release stops all timers of a connection.
func (m *Machine) release(c *conn) {
	for _, t := range []*timer{&c.ping, &c.life, &c.drain, &c.refresh, &c.foreign} {
		m.timers.stop(t)
	}
}

// retire keeps a connection that was replaced until its last answers are in
// and its subscriptions have moved.
func (m *Machine) retire(now time.Duration, c *conn) {
	m.timers.stop(&c.life)
	m.timers.stop(&c.refresh)
	c.retired = now + m.t.Drain
	m.old = append(m.old, c)
	m.timers.set(&c.drain, now+drainStep)
}

func (a drainAlarm) ring(m *Machine, now time.Duration) {
	c := a.c
	if now < c.retired && m.holds(c) {
		m.timers.set(&c.drain, now+drainStep)
		return
	}
	m.emit(Output{Verb: Drop, Conn: c.gen, Code: wire.CloseNormal})
	m.Lost(now, c.gen, 0)
}

// holds tells whether a connection that was replaced is still of use.
func (m *Machine) holds(c *conn) bool {
	for _, msg := range m.refs {
		if msg.conn == c {
			return true
		}
	}
	for _, s := range m.streams {
		if s.sent != nil && s.sent.conn == c || s.on == c {
			return true
		}
	}
	return false
}

func (a lifeAlarm) ring(m *Machine, now time.Duration) {
	if a.c == m.conn {
		m.connect(now, 0)
	}
}

// ring pings after silence of ours, and gives a connection up on which nothing
// came after a ping.
func (a pingAlarm) ring(m *Machine, now time.Duration) {
	c := a.c
	switch {
	case c.pinged >= 0 && c.frames == c.pinged:
		m.emit(Output{Verb: Drop, Conn: c.gen, Code: wire.CloseGoingAway})
		m.Lost(now, c.gen, 0)
	case now < c.said+m.t.Ping:
		c.pinged = -1
		m.timers.set(&c.ping, c.said+m.t.Ping)
	default:
		c.pinged = -1
		m.probe(now, c)
	}
}

// probe pings unless a ping is out.
func (m *Machine) probe(now time.Duration, c *conn) {
	if c.pinged >= 0 {
		return
	}
	c.pinged = c.frames
	m.send(now, c, []byte(`{"type":"ping"}`))
	m.timers.set(&c.ping, now+m.t.PingWait)
}

// Woke takes the news that the machine it runs on has slept.
func (m *Machine) Woke(now time.Duration) {
	for _, c := range append(slices.Clone(m.old), m.conn) {
		if c != nil {
			m.probe(now, c)
		}
	}
}

// closing takes the server's goodbye: another connection is opened at a random
// moment within the time that it names, whether or not this one lives so long.
func (m *Machine) closing(now time.Duration, c *conn, msg *wire.ServerMessage) {
	if c != m.conn || c.closing {
		return
	}
	c.closing = true
	if msg.Reconnect != nil && !*msg.Reconnect {
		c.final = true
		return
	}
	after := m.jitter(time.Duration(min(msg.AfterMs, maxClosingMs)) * time.Millisecond)
	m.connect(now, max(after, 1))
}

// maxClosingMs bounds for how long a goodbye keeps us from coming back.
const maxClosingMs = 10 * 60 * 1000

// foreignFrame takes a gateway's own error: it does not say what it is about.
func (m *Machine) foreignFrame(now time.Duration, c *conn) {
	if c.foreign.index == 0 {
		m.timers.set(&c.foreign, now+m.t.Foreign)
	}
}

func (a foreignAlarm) ring(m *Machine, now time.Duration) {
	for _, msg := range m.unanswered() {
		if msg.conn == a.c && !msg.sync && msg.tries < resends {
			msg.tries++
			m.transmit(now, msg)
		}
	}
}
