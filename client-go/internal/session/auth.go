package session

import (
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// scheduleRefresh sets when a connection's token is renewed.
func (m *Machine) scheduleRefresh(now time.Duration, c *conn) {
	remaining := c.tokenExpiry - now
	if !m.cfg.CanRefresh || c.tokenExpiry == noDeadline || remaining <= 0 {
		return
	}
	m.timers.reset(&c.refresh, max(c.tokenExpiry-min(m.timing.Refresh, remaining/5), now+minTokenInterval))
}

// minTokenInterval is the least time between two fetches of a token.
const minTokenInterval = time.Second

func (c *conn) onRefresh(m *Machine, _ time.Duration) { m.requestToken(c) }

// requestToken asks for a token unless one is being fetched.
func (m *Machine) requestToken(c *conn) {
	if m.fetchingToken || c != m.conn {
		return
	}
	m.fetchingToken = true
	m.addOutput(Output{Verb: FetchToken})
}

// onTokenExpired handles the server's refusal of an expired token. It returns
// false if the client cannot get another one.
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

// TokenFetched reports the token that was asked for, and when it expires. same
// means that it is the one in use, failed that there is none.
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

// scheduleTokenRetry fetches another token later, with backoff.
func (m *Machine) scheduleTokenRetry(now time.Duration) {
	if c := m.conn; c != nil {
		m.timers.reset(&c.refresh, now+minTokenInterval+m.backoff(m.tokenRetries))
		m.tokenRetries++
	}
}

// onAuthAnswer handles the answer to an auth; refusal is nil if the server has
// accepted the token.
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
		// Connect again: that fetches a token as well, and the handshake
		// shows whether trying again can help.
		m.connect(now, max(m.backoff(m.dialFailures), 1))
		m.dialFailures++
	case refusal.Code == wire.CodeUnauthorized:
		// The old token is still valid; the server says when it is not.
	default:
		m.scheduleTokenRetry(now)
	}
}
