package server_test

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/stretchr/testify/require"
)

// Invariant 11 over a real socket: closing, the end of what could end, 1012; then
// the next server goes on with the rest.
func TestShutdownAndReconnect(t *testing.T) {
	data := filepath.Join(t.TempDir(), "streamer.db")
	h := start(t, server.Options{Data: data})
	p := h.dial("ann")
	id := wire.NewID()
	p.send(`{"type":"request","id":"%s","action":"wait","mode":"async"}`, id)
	epoch := p.next().Epoch
	inline := wire.NewID()
	p.send(`{"type":"request","id":"%s","action":"wait","mode":"sync"}`, inline)
	p.pings()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.stop(10 * time.Millisecond)
	}()
	m := p.expect(wire.TypeClosing)
	require.Equal(t, "shutdown", m.Reason)
	require.True(t, *m.Reconnect)
	require.Positive(t, m.AfterMs)
	m = p.next()
	require.Equal(t, wire.CodeUnavailable, m.Code, "an inline call that cannot be stored")
	require.False(t, *m.Final)
	require.Equal(t, inline, m.ID)
	require.Equal(t, wire.CloseRestart, p.closed())
	<-done

	h = start(t, server.Options{Data: data})
	p = h.dial("ann")
	p.send(`{"type":"subscribe","ref":"r","id":"%s","after":1,"epoch":%d}`, id, epoch)
	require.Nil(t, p.expect(wire.TypeSnapshot, wire.TypeAttempt).Recovered)
	p.send(`{"type":"cancel","ref":"c","id":"%s"}`, id)
	m = p.next(wire.TypeOK, wire.TypeAttempt)
	require.Equal(t, wire.CodeCancelled, m.Code)
	p.send(`{"type":"subscribe","ref":"r","id":"%s","after":1,"epoch":%d}`, id, epoch+1)
	m = p.next(wire.TypeOK) // the end may have come before it
	require.False(t, *m.Recovered)
	require.Equal(t, wire.TypeAck, m.Events[0].Type, "another history: from the start")
	require.Equal(t, "shutdown", m.Events[1].Code)
}

// Idle connections, old ones, and those whose token has expired are closed,
// each with its reason and code.
func TestConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := inBubble(t, router(), server.Options{IdleTimeout: 50 * time.Millisecond})
		p := h.dial("ann")
		require.Equal(t, "idle", p.next().Reason)
		require.Equal(t, wire.CloseGoingAway, p.closed())

		h = inBubble(t, router(), server.Options{MaxLife: 50 * time.Millisecond})
		p = h.dial("ann")
		require.Equal(t, "expired", p.next().Reason)
		require.Equal(t, wire.CloseGoingAway, p.closed())

		h = inBubble(t, router(), server.Options{Auth: auth.AuthenticatorFunc(func(_ context.Context, token string) (auth.Identity, error) {
			id := identities[token]
			id.Expires = time.Now().Add(-time.Second)
			return id, nil
		})})
		p = h.dial("ann")
		p.send(`{"type":"list","ref":"r"}`)
		m := p.next()
		require.Equal(t, wire.CodeTokenExpired, m.Code)
		require.True(t, *m.Retryable)
		require.Equal(t, "token_expired", p.next().Reason)
		require.Equal(t, wire.CloseTokenExpired, p.closed())
	})
}

// Invariant 9: a slow reader costs itself, not others, and nothing durable is
// skipped: it is told that it lags, and pulls.
func TestInvariant09SlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := inBubble(t, router(), server.Options{OutboxBytes: 2048})
		fastReader := h.dial("ann")
		slow := h.dial("ann")
		id := wire.NewID()
		slow.send(`{"type":"request","id":"%s","action":"count","payload":%d}`, id, chunks)
		synctest.Wait() // more was published than it takes
		fastReader.send(`{"type":"request","id":"%s","action":"echo"}`, wire.NewID())
		fastReader.expect(wire.TypeResult) // others are served
		require.Positive(t, slow.follow(id))
	})
}

const chunks = 50_000

// follow takes the events of a call that counts, pulls when it lags, and
// returns how often that was.
func (p *peer) follow(id string) (lags int) {
	p.Helper()
	position := uint64(0)
	for ended := false; !ended; {
		m := p.next(wire.TypeProgress)
		events := []wire.ServerMessage{m}
		if m.Type == wire.TypeSnapshot {
			events = m.Events
		}
		for _, e := range events {
			if e.Seq == position+1 {
				position++
				ended = ended || e.Type == wire.TypeResult
			}
		}
		if m.Type == wire.TypeLag || m.Type == wire.TypeSnapshot && *m.More {
			lags++
			p.send(`{"type":"subscribe","ref":"r","id":"%s","after":%d}`, id, position)
		}
	}
	require.EqualValues(p, chunks+2, position, "every event, in order")
	return lags
}

func TestTooManyUnanswered(t *testing.T) {
	h := start(t, server.Options{MaxPending: 2})
	p := h.dial("ann")
	for range 2 {
		p.call("wait", "null")
	}
	id := p.call("echo", "null")
	m := p.next()
	requireOverloaded(t, m)
	require.Equal(t, id, m.ID)
}

func TestHealth(t *testing.T) {
	h := start(t, server.Options{})
	for _, path := range []string{"/healthz", "/readyz"} {
		response, err := web.Get(h.http[0].URL + path)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
	web.CloseIdleConnections()
}
