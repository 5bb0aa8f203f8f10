package session

import (
	"slices"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// drainStep is how often a connection that was replaced is looked at.
const drainInterval = 100 * time.Millisecond

// conn is a connection that is open.
type conn struct {
	gen      int
	openedAt time.Duration
	// said is when the last message left, frames how many have come.
	lastSent       time.Duration
	framesReceived int
	// pinged is the number of frames before a ping that nothing followed yet;
	// -1: none is out.
	framesAtPing int
	// used tells that something was answered on it.
	answered bool
	// closing tells that the server is about to close it, final that it does
	// not want us back.
	closing, noReconnect bool
	// expired tells that the server refuses everything but auth.
	tokenExpired bool
	// until is when its token expires; never if that is not known.
	tokenExpiry time.Duration
	// retired is by when it is closed, once another has taken its place.
	drainUntil time.Duration

	ping, maxAge, drain, refresh, foreign timer
}

// The alarms of a connection.
type (
	redialTimer  struct{}
	pingTimer    struct{ c *conn }
	maxAgeTimer  struct{ c *conn }
	drainTimer   struct{ c *conn }
	refreshTimer struct{ c *conn }
	foreignTimer struct{ c *conn }
)

// connect opens a connection after a while, unless that is under way.
func (m *Machine) connect(now, delay time.Duration) {
	if m.fatal != nil || m.dialing != 0 || m.redial.index != 0 && m.redial.at <= now+delay {
		return
	}
	if delay > 0 {
		m.timers.reset(&m.redial, now+delay)
		return
	}
	m.timers.stop(&m.redial)
	redialTimer{}.onTimer(m, now)
}

func (redialTimer) onTimer(m *Machine, _ time.Duration) {
	m.gen++
	m.dialing = m.gen
	m.addOutput(Output{Verb: Dial, Conn: m.gen})
}

// Opened takes the news that a connection is open. until is when its token
// expires; [follow.Never] if that is not known.
func (m *Machine) Opened(now time.Duration, gen int, tokenExpiry time.Duration) {
	if gen != m.dialing {
		m.addOutput(Output{Verb: CloseConn, Conn: gen, Code: wire.CloseNormal})
		return
	}
	before := m.conn
	c := &conn{gen: gen, openedAt: now, lastSent: now, framesAtPing: -1, tokenExpiry: tokenExpiry}
	c.ping.owner, c.maxAge.owner, c.drain.owner = pingTimer{c}, maxAgeTimer{c}, drainTimer{c}
	c.refresh.owner, c.foreign.owner = refreshTimer{c}, foreignTimer{c}
	m.conn, m.dialing, m.everConnected, m.lastError = c, 0, true, nil
	m.timers.reset(&c.ping, now+m.timing.Ping)
	m.timers.reset(&c.maxAge, now+m.timing.MaxAge-m.jitter(m.timing.MaxAgeSpread))
	m.scheduleRefresh(now, c)
	for _, s := range m.streams {
		s.OnDisconnect()
	}
	if before != nil {
		m.startDraining(now, before)
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
		m.shutDown(now, why)
		return
	}
	if m.conn == nil {
		m.lastError = why
	}
	wait := m.backoff(m.dialFailures)
	m.dialFailures++
	m.connect(now, max(wait, time.Duration(why.RetryAfterMs)*time.Millisecond, 1))
}

// Lost takes the news that a connection is gone. code is the close code, or 0.
func (m *Machine) ConnLost(now time.Duration, gen, code int) {
	c := m.findConn(gen)
	if c == nil {
		return
	}
	m.stopTimers(c)
	if c != m.conn {
		m.draining = slices.DeleteFunc(m.draining, func(o *conn) bool { return o == c })
		m.requeue(now, c)
		return
	}
	m.conn = nil
	again, known := wire.Reconnects[code]
	if c.noReconnect || known && !again {
		m.shutDown(now, localError(wire.CodeUnavailable, "the server closed the connection and does not want another", true))
		return
	}
	m.lastError = localError(wire.CodeUnavailable, "the connection was lost", false)
	if c.answered || now-c.openedAt >= stableAfter {
		m.dialFailures = 0
	}
	for _, s := range m.streams {
		s.OnDisconnect()
		s.conn = nil
	}
	m.requeue(now, c)
	for _, s := range m.sortedStreams() {
		m.update(now, s)
	}
	if m.dialing == 0 && m.redial.index == 0 {
		m.connect(now, max(m.backoff(m.dialFailures), 1))
		m.dialFailures++
	}
}

// use notes that a connection serves: the backoff of the next one begins anew.
func (m *Machine) markAnswered(c *conn) {
	if !c.answered && c == m.conn {
		m.dialFailures = 0
	}
	c.answered = true
}

// find returns an open connection.
func (m *Machine) findConn(gen int) *conn {
	if m.conn != nil && m.conn.gen == gen {
		return m.conn
	}
	for _, c := range m.draining {
		if c.gen == gen {
			return c
		}
	}
	return nil
}

// release stops all timers of a connection.
func (m *Machine) stopTimers(c *conn) {
	for _, t := range []*timer{&c.ping, &c.maxAge, &c.drain, &c.refresh, &c.foreign} {
		m.timers.stop(t)
	}
}

// retire keeps a connection that was replaced until its last answers are in
// and its subscriptions have moved.
func (m *Machine) startDraining(now time.Duration, c *conn) {
	m.timers.stop(&c.maxAge)
	m.timers.stop(&c.refresh)
	c.drainUntil = now + m.timing.Drain
	m.draining = append(m.draining, c)
	m.timers.reset(&c.drain, now+drainInterval)
}

func (a drainTimer) onTimer(m *Machine, now time.Duration) {
	c := a.c
	if now < c.drainUntil && m.isNeeded(c) {
		m.timers.reset(&c.drain, now+drainInterval)
		return
	}
	m.addOutput(Output{Verb: CloseConn, Conn: c.gen, Code: wire.CloseNormal})
	m.ConnLost(now, c.gen, 0)
}

// holds tells whether a connection that was replaced is still of use.
func (m *Machine) isNeeded(c *conn) bool {
	for _, msg := range m.refs {
		if msg.conn == c {
			return true
		}
	}
	for _, s := range m.streams {
		if s.pending != nil && s.pending.conn == c || s.conn == c {
			return true
		}
	}
	return false
}

func (a maxAgeTimer) onTimer(m *Machine, now time.Duration) {
	if a.c == m.conn {
		m.connect(now, 0)
	}
}

// ring pings after silence of ours, and gives a connection up on which nothing
// came after a ping.
func (a pingTimer) onTimer(m *Machine, now time.Duration) {
	c := a.c
	switch {
	case c.framesAtPing >= 0 && c.framesReceived == c.framesAtPing:
		m.addOutput(Output{Verb: CloseConn, Conn: c.gen, Code: wire.CloseGoingAway})
		m.ConnLost(now, c.gen, 0)
	case now < c.lastSent+m.timing.Ping:
		c.framesAtPing = -1
		m.timers.reset(&c.ping, c.lastSent+m.timing.Ping)
	default:
		c.framesAtPing = -1
		m.sendPing(now, c)
	}
}

// probe pings unless a ping is out.
func (m *Machine) sendPing(now time.Duration, c *conn) {
	if c.framesAtPing >= 0 {
		return
	}
	c.framesAtPing = c.framesReceived
	m.sendNow(now, c, []byte(`{"type":"ping"}`))
	m.timers.reset(&c.ping, now+m.timing.PingWait)
}

// Woke takes the news that the machine it runs on has slept.
func (m *Machine) OnWake(now time.Duration) {
	for _, c := range append(slices.Clone(m.draining), m.conn) {
		if c != nil {
			m.sendPing(now, c)
		}
	}
}

// closing takes the server's goodbye: another connection is opened at a random
// moment within the time that it names, whether or not this one lives so long.
func (m *Machine) onClosing(now time.Duration, c *conn, msg *wire.ServerMessage) {
	if c != m.conn || c.closing {
		return
	}
	c.closing = true
	if msg.Reconnect != nil && !*msg.Reconnect {
		c.noReconnect = true
		return
	}
	after := m.jitter(time.Duration(min(msg.AfterMs, maxClosingMs)) * time.Millisecond)
	m.connect(now, max(after, 1))
}

// maxClosingMs bounds for how long a goodbye keeps us from coming back.
const maxClosingMs = 10 * 60 * 1000

// foreignFrame takes a gateway's own error: it does not say what it is about.
func (m *Machine) scheduleForeignResend(now time.Duration, c *conn) {
	if c.foreign.index == 0 {
		m.timers.reset(&c.foreign, now+m.timing.Foreign)
	}
}

func (a foreignTimer) onTimer(m *Machine, now time.Duration) {
	for _, msg := range m.unansweredMessages() {
		if msg.conn == a.c && !msg.sync && msg.resends < maxResends {
			msg.resends++
			m.transmit(now, msg)
		}
	}
}
