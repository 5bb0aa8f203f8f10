package session

import (
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// drainInterval is how often the client checks whether a replaced connection
// can be closed.
const drainInterval = 100 * time.Millisecond

// conn is an open connection.
type conn struct {
	gen      int
	openedAt time.Duration
	// lastSent is when the last message was sent.
	lastSent       time.Duration
	framesReceived int
	// framesAtPing is framesReceived when the last ping was sent; -1 if no ping
	// waits for an answer.
	framesAtPing int
	// answered is true if the server has answered anything on it.
	answered bool
	// closing is true if the server has said that it closes the connection,
	// noReconnect if the client must not connect again.
	closing, noReconnect bool
	// tokenExpired is true if the server refuses everything but auth.
	tokenExpired bool
	// tokenExpiry is when its token expires; noDeadline if that is not known.
	tokenExpiry time.Duration
	// drainUntil is when it is closed at the latest, once it was replaced.
	drainUntil time.Duration

	ping, maxAge, drain, refresh, foreign timer
}

// connect opens a connection after a delay, unless one is being opened or is
// due earlier.
func (m *Machine) connect(now, delay time.Duration) {
	if m.fatal != nil || m.dialing != 0 || m.redial.index != 0 && m.redial.at <= now+delay {
		return
	}
	if delay > 0 {
		m.timers.reset(&m.redial, now+delay)
		return
	}
	m.timers.stop(&m.redial)
	m.dial(now)
}

func (m *Machine) dial(time.Duration) {
	m.gen++
	m.dialing = m.gen
	m.addOutput(Output{Verb: Dial, Conn: m.gen})
}

// Opened reports an open connection. tokenExpiry is when its token expires;
// [follow.NoDeadline] if that is not known.
func (m *Machine) Opened(now time.Duration, gen int, tokenExpiry time.Duration) {
	if gen != m.dialing {
		m.addOutput(Output{Verb: CloseConn, Conn: gen, Code: wire.CloseNormal})
		return
	}
	replaced := m.conn
	c := &conn{gen: gen, openedAt: now, lastSent: now, framesAtPing: -1, tokenExpiry: tokenExpiry}
	c.ping.owner, c.maxAge.owner, c.drain.owner = timerFunc(c.onPing), timerFunc(c.onMaxAge), timerFunc(c.onDrain)
	c.refresh.owner, c.foreign.owner = timerFunc(c.onRefresh), timerFunc(c.onForeign)
	m.conns[gen] = c
	m.conn, m.dialing, m.everConnected, m.lastError = c, 0, true, nil
	m.timers.reset(&c.ping, now+m.timing.Ping)
	m.timers.reset(&c.maxAge, now+m.timing.MaxAge-m.cfg.Jitter(m.timing.MaxAgeSpread))
	m.scheduleRefresh(now, c)
	for _, s := range m.streams {
		s.OnDisconnect()
	}
	if replaced != nil {
		m.startDraining(now, replaced)
	}
	m.resume(now)
}

// DialFailed reports that a connection could not be opened. why is final if
// trying again cannot help.
func (m *Machine) DialFailed(now time.Duration, gen int, why *wire.ServerMessage) {
	if gen != m.dialing {
		return
	}
	m.dialing = 0
	if *why.Final {
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

// ConnLost reports that a connection was lost. code is the close code, or 0.
func (m *Machine) ConnLost(now time.Duration, gen, code int) {
	c := m.conns[gen]
	if c == nil {
		return
	}
	m.stopTimers(c)
	delete(m.conns, gen)
	if c != m.conn {
		m.requeue(now, c)
		return
	}
	m.conn = nil
	again, known := wire.Reconnects[code]
	if c.noReconnect || known && !again {
		m.shutDown(now, localError(wire.CodeUnavailable, "the server closed the connection and refuses to reconnect", true))
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

// markAnswered records that the server answers on a connection: the backoff
// starts from its base again.
func (m *Machine) markAnswered(c *conn) {
	if !c.answered && c == m.conn {
		m.dialFailures = 0
	}
	c.answered = true
}

// stopTimers stops all timers of a connection.
func (m *Machine) stopTimers(c *conn) {
	for _, t := range []*timer{&c.ping, &c.maxAge, &c.drain, &c.refresh, &c.foreign} {
		m.timers.stop(t)
	}
}

// startDraining keeps a replaced connection until it has its last answers and
// its subscriptions have moved.
func (m *Machine) startDraining(now time.Duration, c *conn) {
	m.timers.stop(&c.maxAge)
	m.timers.stop(&c.refresh)
	c.drainUntil = now + m.timing.Drain
	m.timers.reset(&c.drain, now+drainInterval)
}

func (c *conn) onDrain(m *Machine, now time.Duration) {
	if now < c.drainUntil && m.isNeeded(c) {
		m.timers.reset(&c.drain, now+drainInterval)
		return
	}
	m.addOutput(Output{Verb: CloseConn, Conn: c.gen, Code: wire.CloseNormal})
	m.ConnLost(now, c.gen, 0)
}

// isNeeded says whether a replaced connection still has unanswered messages or
// subscriptions.
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

func (c *conn) onMaxAge(m *Machine, now time.Duration) {
	if c == m.conn {
		m.connect(now, 0)
	}
}

// onPing sends a ping if nothing was sent for some time, and gives up a
// connection on which nothing was received after a ping.
func (c *conn) onPing(m *Machine, now time.Duration) {
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

// sendPing sends a ping unless one waits for an answer.
func (m *Machine) sendPing(now time.Duration, c *conn) {
	if c.framesAtPing >= 0 {
		return
	}
	c.framesAtPing = c.framesReceived
	m.sendNow(now, c, []byte(`{"type":"ping"}`))
	m.timers.reset(&c.ping, now+m.timing.PingWait)
}

// OnWake reports that the computer was suspended: each connection is checked
// with a ping.
func (m *Machine) OnWake(now time.Duration) {
	for _, c := range m.conns {
		m.sendPing(now, c)
	}
}

// onClosing handles a closing message: another connection is opened at a
// random moment within the time that it names, whether or not this one is
// closed by then.
func (m *Machine) onClosing(now time.Duration, c *conn, msg *wire.ServerMessage) {
	if c != m.conn || c.closing {
		return
	}
	c.closing = true
	if msg.Reconnect != nil && !*msg.Reconnect {
		c.noReconnect = true
		return
	}
	after := m.cfg.Jitter(time.Duration(min(msg.AfterMs, maxClosingMs)) * time.Millisecond)
	m.connect(now, max(after, 1))
}

// maxClosingMs bounds how long a server may tell the client to wait.
const maxClosingMs = 10 * 60 * 1000

// onForeign sends unanswered messages again after a foreign frame.
func (c *conn) onForeign(m *Machine, now time.Duration) {
	for _, msg := range m.unansweredMessages() {
		if msg.conn == c && !msg.sync && msg.resends < maxResends {
			m.resend(now, msg)
		}
	}
}
