package conformance_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/conformance/sessions"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startRemote starts an embedded server that is reached by its URL. Its tokens
// are those that the server's own target mints.
func startRemote(t *testing.T) (*embedded, conformance.RemoteOptions) {
	t.Helper()
	e := newEmbedded(t, place{}, conformance.Settings{})
	t.Cleanup(func() { _ = e.Close() })
	return e, conformance.RemoteOptions{URL: e.url, Mint: e.mint}
}

// The transcripts, played beside each other against one server, with nothing
// done to it but what clients do.
func TestRemote(t *testing.T) {
	conformance.NeedContract(t)
	_, options := startRemote(t)
	list, err := conformance.Load(sessions.Server())
	require.NoError(t, err)
	known := conformance.KnownOf(t, "embedded", list)
	s := &conformance.Suite{Transcripts: list, Parallel: 16, Known: known, Play: func(ctx context.Context, tr *conformance.Transcript) error {
		return conformance.Run(ctx, tr, conformance.NewRemote(&options), &conformance.Options{Prefix: tr.Name + "-"})
	}}
	v := s.Run(t.Context(), func(*conformance.Transcript) {}, func(e *conformance.Entry) {
		if e.Outcome == conformance.Failed {
			t.Error(e.Err)
		}
	})
	assert.GreaterOrEqual(t, v.Passed, 60)
	assert.Equal(t, len(list), v.Passed+v.NotPlayed+v.Known)
}

// A transcript that moves the clock is waited for, if it may.
func TestRemoteWaits(t *testing.T) {
	_, options := startRemote(t)
	tr, err := conformance.Parse("example", []byte(`{"tests": "server", "shows": "x", "covers": ["R-x"], "needs": ["clock"],
		"identities": {"alice": {"tenant": "acme", "subject": "alice"}}, "ids": {"call": 0},
		"steps": [{"connect": "alice"}, {"send": {"type": "request", "id": "$call", "action": "slow", "payload": {"ms": 30}}}, {"advanceMs": 50},
			{"expect": {"type": "result", "id": "$call", "...": true}}]}`))
	require.NoError(t, err)
	play := func(wait time.Duration) error {
		return conformance.Run(t.Context(), tr, conformance.NewRemote(&options), &conformance.Options{Wait: wait})
	}
	var unsupported *conformance.UnsupportedError
	require.ErrorAs(t, play(49*time.Millisecond), &unsupported)
	require.NoError(t, play(50*time.Millisecond))
}

func TestRemoteConnects(t *testing.T) {
	e, options := startRemote(t)
	r := conformance.NewRemote(&options)
	alice := conformance.Identity{Tenant: "acme", Subject: "alice"}
	for name, c := range map[string]struct {
		who  func(*conformance.Identity)
		code string
	}{
		"with a token": {func(*conformance.Identity) {}, ""},
		"as a browser": {func(w *conformance.Identity) { w.Via = conformance.ViaSubprotocol }, ""},
		"without":      {func(w *conformance.Identity) { w.Defect = conformance.Missing }, "401 unauthorized"},
		"forged":       {func(w *conformance.Identity) { w.Defect = conformance.Forged }, "401 unauthorized"},
		"expired":      {func(w *conformance.Identity) { w.ExpiresInMs = -60000 }, "401 token_expired"},
		"as another":   {func(w *conformance.Identity) { w.Offers = []string{"mqtt"} }, "400 not_streamer"},
	} {
		who := alice
		c.who(&who)
		conn, err := r.Connect(t.Context(), who)
		if c.code == "" {
			require.NoError(t, err, name)
			conn.Cut()
			continue
		}
		var refusal *conformance.Refusal
		require.ErrorAs(t, err, &refusal, name)
		require.ErrorContains(t, err, c.code, name)
	}
	require.NoError(t, e.Close())
	_, err := r.Connect(t.Context(), alice)
	require.Error(t, err, "connected to a closed server")
	require.NoError(t, r.Close())
	options.Mint = nil
	_, err = conformance.NewRemote(&options).Token(alice)
	require.Error(t, err, "there is nothing to make a token with")
}

// accept accepts the next connection, with a subprotocol.
func accept(t *testing.T, l *conformance.Listener, subprotocol string) <-chan conformance.Conn {
	accepted := make(chan conformance.Conn, 1)
	go func() {
		if dial, err := l.Accept(t.Context()); err == nil {
			conn, _ := dial.Accept(subprotocol)
			accepted <- conn
		}
	}()
	return accepted
}

// A server that picks another subprotocol, or none, does not speak ours.
func TestServerPicksAnotherSubprotocol(t *testing.T) {
	l := conformance.NewListener()
	url := serve(t, l)
	for _, pick := range []string{"", "streamer.v2"} {
		accepted := accept(t, l, pick)
		who := conformance.Identity{Offers: []string{"streamer.v2", "streamer.v1"}}
		_, err := conformance.NewRemote(&conformance.RemoteOptions{URL: url}).Connect(t.Context(), who)
		require.ErrorContains(t, err, "picked the subprotocol", pick)
		(<-accepted).Cut()
	}
}

// A socket that is stalled takes nothing until it is resumed.
func TestSocketStalls(t *testing.T) {
	l := conformance.NewListener()
	url := serve(t, l)
	accepted := accept(t, l, "streamer.v1")
	peer, err := conformance.NewRemote(&conformance.RemoteOptions{URL: url}).Connect(t.Context(), conformance.Identity{})
	require.NoError(t, err)
	defer peer.Cut()
	socket := <-accepted
	socket.Stall()
	socket.Stall()
	require.NoError(t, peer.Send([]byte("1")))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = socket.Recv(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	socket.Resume()
	socket.Resume()
	frame, err := socket.Recv(t.Context())
	require.NoError(t, err)
	require.Equal(t, "1", string(frame))
	socket.Stall()
	require.NoError(t, peer.Send([]byte("2")))
	socket.Cut() // and no goroutine is left
}

// serve serves a listener on this machine, and returns its URL.
func serve(t *testing.T, l *conformance.Listener) string {
	t.Helper()
	web := httptest.NewServer(l)
	t.Cleanup(web.Close)
	return "ws" + strings.TrimPrefix(web.URL, "http")
}
