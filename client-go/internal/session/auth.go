package session

import (
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// refreshAt sets when a connection's token is to be renewed.
func (m *Machine) refreshAt(now time.Duration, c *conn) {
	left := c.until - now
	if !m.cfg.CanRefresh || c.until == never || left <= 0 {
		return
	}
	m.timers.set(&c.refresh, max(c.until-min(m.t.Refresh, left/5), now+minRefresh))
}

// minRefresh is the least time between two fetches of a token.
const minRefresh = time.Second

func (a refreshAlarm) ring(m *Machine, _ time.Duration) { m.fetch(a.c) }

// fetch asks for a token unless that is under way.
func (m *Machine) fetch(c *conn) {
	if m.fetching || c != m.conn {
		return
	}
	m.fetching = true
	m.emit(Output{Verb: FetchToken})
}

// expire takes the news that the connection's token has expired. It tells
// whether there is a way to get another one.
func (m *Machine) expire(c *conn) bool {
	if !m.cfg.CanRefresh {
		return false
	}
	if c == m.conn {
		c.expired = true
		m.fetch(c)
	}
	return true
}

// Token takes a token that was asked for, and when it expires. same tells that
// it is the one in use, failed that there is none.
func (m *Machine) Token(now time.Duration, token string, until time.Duration, same, failed bool) {
	m.fetching = false
	c := m.conn
	switch {
	case m.fatal != nil || c == nil:
	case failed || same && c.expired || len(token) > wire.MaxToken:
		m.authLater(now)
	case same:
		m.refreshAt(now, c)
	default:
		c.until = until
		m.add(now, &message{kind: auth}, &wire.ClientMessage{Type: wire.TypeAuth, Token: token})
	}
}

// authLater fetches another token after a while.
func (m *Machine) authLater(now time.Duration) {
	if c := m.conn; c != nil {
		m.timers.set(&c.refresh, now+minRefresh+m.backoff(m.fetches))
		m.fetches++
	}
}

// authed takes the answer to an auth.
func (m *Machine) authed(now time.Duration, c *conn, refusal *wire.ServerMessage) {
	if c != m.conn {
		return
	}
	switch {
	case refusal == nil:
		m.fetches = 0
		c.expired = false
		m.refreshAt(now, c)
		m.resume(now)
	case refusal.Code == wire.CodeReconnectRequired:
		m.connect(now, 0)
	case c.expired:
		// It is worth a connect of its own: that fetches a token, too, and is
		// told for good if there is no hope.
		m.connect(now, max(m.backoff(m.fails), 1))
		m.fails++
	case refusal.Code == wire.CodeUnauthorized:
		// The old token still serves; the server says when it does not.
	default:
		m.authLater(now)
	}
}
