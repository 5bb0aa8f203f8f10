package session

import (
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// refreshAt sets when a connection's token is to be renewed.
func (m *Machine) scheduleRefresh(now time.Duration, c *conn) {
	left := c.tokenExpiry - now
	if !m.cfg.CanRefresh || c.tokenExpiry == noDeadline || left <= 0 {
		return
	}
	m.timers.reset(&c.refresh, max(c.tokenExpiry-min(m.timing.Refresh, left/5), now+minTokenInterval))
}

// minRefresh is the least time between two fetches of a token.
const minTokenInterval = time.Second

func (a refreshTimer) onTimer(m *Machine, _ time.Duration) { m.requestToken(a.c) }

// fetch asks for a token unless that is under way.
func (m *Machine) requestToken(c *conn) {
	if m.fetchingToken || c != m.conn {
		return
	}
	m.fetchingToken = true
	m.addOutput(Output{Verb: FetchToken})
}

// expire takes the news that the connection's token has expired. It tells
// whether there is a way to get another one.
func (m *Machine) onTokenExpired(c *conn) bool {
	if !m.cfg.CanRefresh {
		return false
	}
	if c == m.conn {
		c.tokenExpired = true
		m.requestToken(c)
	}
	return true
}

// Token takes a token that was asked for, and when it expires. same tells that
// it is the one in use, failed that there is none.
func (m *Machine) TokenFetched(now time.Duration, token string, tokenExpiry time.Duration, same, failed bool) {
	m.fetchingToken = false
	c := m.conn
	switch {
	case m.fatal != nil || c == nil:
	case failed || same && c.tokenExpired || len(token) > wire.MaxToken:
		m.scheduleTokenRetry(now)
	case same:
		m.scheduleRefresh(now, c)
	default:
		c.tokenExpiry = tokenExpiry
		m.sendWithRef(now, &message{kind: auth}, &wire.ClientMessage{Type: wire.TypeAuth, Token: token})
	}
}

// authLater fetches another token after a while.
func (m *Machine) scheduleTokenRetry(now time.Duration) {
	if c := m.conn; c != nil {
		m.timers.reset(&c.refresh, now+minTokenInterval+m.backoff(m.tokenRetries))
		m.tokenRetries++
	}
}

// authed takes the answer to an auth.
func (m *Machine) onAuthAnswer(now time.Duration, c *conn, refusal *wire.ServerMessage) {
	if c != m.conn {
		return
	}
	switch {
	case refusal == nil:
		m.tokenRetries = 0
		c.tokenExpired = false
		m.scheduleRefresh(now, c)
		m.resume(now)
	case refusal.Code == wire.CodeReconnectRequired:
		m.connect(now, 0)
	case c.tokenExpired:
		// It is worth a connect of its own: that fetches a token, too, and is
		// told for good if there is no hope.
		m.connect(now, max(m.backoff(m.dialFailures), 1))
		m.dialFailures++
	case refusal.Code == wire.CodeUnauthorized:
		// The old token still serves; the server says when it does not.
	default:
		m.scheduleTokenRetry(now)
	}
}
