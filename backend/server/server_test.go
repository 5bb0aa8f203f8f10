package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/memnet"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var discarded = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is a real server on a real port, with a real file.
type host struct {
	*testing.T
	server *server.Server
	url    string
	admin  string
	http   []*httptest.Server
	dialer websocket.Dialer
}

const (
	// hang bounds every wait: it is long enough for the busiest machine, and
	// catches only what never comes.
	hang = time.Minute
	// unhurried is for the server's own timeouts in tests that are not about
	// them.
	unhurried = 10 * time.Minute
)

// unhurry sets timeouts that a test has not set.
func unhurry(o *server.Options) {
	for _, d := range []*time.Duration{&o.Threshold, &o.WriteTimeout, &o.HandshakeTimeout} {
		if *d == 0 {
			*d = unhurried
		}
	}
}

type tokens = auth.Static

var identities = tokens{
	"ann":      {Tenant: "acme", Subject: "ann", Scopes: []string{"a", "b"}},
	"bob":      {Tenant: "acme", Subject: "bob"},
	"eve":      {Tenant: "evil", Subject: "ann", Scopes: []string{"a", "b"}},
	"zoe":      {Tenant: "zoo", Subject: "ann"},
	"operator": {Tenant: "ops", Subject: "op", Scopes: []string{server.OperatorScope}},
}

func router() *streamer.Router {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "echo", func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil })
	streamer.HandleStream(r, "count", func(ctx context.Context, n int, call *streamer.Call[int]) (int, error) {
		for i := range n {
			call.Progress(float64(100*i/n), "")
			call.Emit(i)
		}
		return n, nil
	}, streamer.Async())
	streamer.Handle(r, "wait", func(ctx context.Context, _ json.RawMessage) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
	streamer.Handle(r, "fail", func(context.Context, json.RawMessage) (string, error) {
		return "", errors.New("secret detail")
	}, streamer.Async(), streamer.Retry(1, streamer.Backoff{Base: time.Millisecond, Max: time.Millisecond}))
	streamer.Handle(r, "guarded", func(context.Context, json.RawMessage) (string, error) { return "in", nil }, streamer.RequireScope("a", "b"))
	return r
}

func start(t *testing.T, o server.Options) *host {
	t.Helper()
	return startWith(t, router(), o)
}

// startWith is start with a router of the test's own.
func startWith(t *testing.T, r *streamer.Router, o server.Options) *host {
	t.Helper()
	if o.Auth == nil {
		o.Auth = identities
	}
	if o.Data == "" {
		o.Data = filepath.Join(t.TempDir(), "streamer.db")
	}
	if o.Logger == nil {
		o.Logger = discarded
	}
	unhurry(&o)
	s, err := server.New(r, &o)
	require.NoError(t, err)
	h := &host{T: t, server: s, dialer: dialer}
	for _, handler := range []http.Handler{s.Handler(), s.AdminHandler()} {
		h.http = append(h.http, httptest.NewServer(handler))
	}
	h.url = "ws" + strings.TrimPrefix(h.http[0].URL, "http")
	h.admin = h.http[1].URL
	t.Cleanup(func() { h.stop(time.Second) })
	return h
}

func (h *host) stop(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	require.NoError(h, h.server.Shutdown(ctx))
	for _, s := range h.http {
		s.Close()
	}
}

// inBubble starts a server in the bubble that the test runs in: with a store and
// a network in memory, where nothing waits unseen in a buffer, and time passes
// only while everything waits for it.
func inBubble(t *testing.T, r *streamer.Router, o server.Options) *host {
	t.Helper()
	if o.Auth == nil {
		o.Auth = identities
	}
	o.Queue, o.Logger = memory.New(nil), discarded
	s, err := server.New(r, &o)
	require.NoError(t, err)
	l := memnet.NewListener()
	web := &http.Server{Handler: s.Handler()}
	go func() { _ = web.Serve(l) }()
	h := &host{T: t, server: s, url: "ws://pipe/", dialer: dialer}
	h.dialer.NetDialContext = l.DialContext
	t.Cleanup(func() {
		h.stop(time.Second)
		_ = web.Close()
	})
	return h
}

// peer is a client that speaks the protocol by hand.
type peer struct {
	*testing.T
	ws   *websocket.Conn
	more []wire.ServerMessage
}

func (h *host) dial(token string) *peer {
	h.Helper()
	ws, response, err := h.dialer.Dial(h.url, http.Header{"Authorization": {"Bearer " + token}})
	require.NoError(h, err)
	require.NoError(h, response.Body.Close())
	h.Cleanup(func() { _ = ws.Close() })
	return &peer{T: h.T, ws: ws}
}

var dialer = websocket.Dialer{Subprotocols: []string{wire.Subprotocol}, HandshakeTimeout: hang}

func (p *peer) send(format string, args ...any) {
	p.Helper()
	require.NoError(p, p.ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...)))
}

// call sends a request and returns its id.
func (p *peer) call(action, payload string) string {
	p.Helper()
	id := wire.NewID()
	p.send(`{"type":"request","id":"%s","action":"%s","payload":%s}`, id, action, payload)
	return id
}

// next returns the next message that is not of the skipped types.
func (p *peer) next(skip ...string) wire.ServerMessage {
	p.Helper()
	for {
		for len(p.more) == 0 {
			require.NoError(p, p.ws.SetReadDeadline(time.Now().Add(hang)))
			_, data, err := p.ws.ReadMessage()
			require.NoError(p, err)
			got, bad := wire.DecodeServerFrame(data)
			require.Nil(p, bad)
			p.more = got
		}
		m := p.more[0]
		p.more = p.more[1:]
		if !slices.Contains(skip, m.Type) {
			return m
		}
	}
}

// expect returns the next message that is not of the skipped types, which must be
// of this type.
func (p *peer) expect(kind string, skip ...string) wire.ServerMessage {
	p.Helper()
	m := p.next(skip...)
	require.Equal(p, kind, m.Type, "%+v", m)
	return m
}

// closed returns the code that the connection is closed with.
func (p *peer) closed() int {
	p.Helper()
	require.NoError(p, p.ws.SetReadDeadline(time.Now().Add(hang)))
	for {
		_, _, err := p.ws.ReadMessage()
		if closing, ok := errors.AsType[*websocket.CloseError](err); ok {
			return closing.Code
		}
		require.NoError(p, err)
	}
}

func TestInlineAndDurable(t *testing.T) {
	h := start(t, server.Options{})
	p := h.dial("ann")
	id := wire.NewID()
	p.send(`{"type":"request","id":"%s","action":"echo","payload":{"a": [1, 2.50],"é":"\ud800"}}`, id)
	m := p.expect(wire.TypeResult)
	require.Zero(t, m.Seq)
	require.Equal(t, `{"a": [1, 2.50],"é":"\ud800"}`, string(m.Payload), "byte for byte")

	id = p.call("count", "100")
	p.expect(wire.TypeAck)
	for i := range 100 {
		require.EqualValues(t, i+2, p.expect(wire.TypeChunk, wire.TypeProgress).Seq)
	}
	p.expect(wire.TypeResult, wire.TypeProgress)

	p.send(`{"type":"subscribe","ref":"r","id":"%s","after":50}`, id)
	m = p.next()
	require.Equal(t, "r", m.Ref)
	require.Len(t, m.Events, 52)
	require.False(t, *m.More)
	p.send(`{"type":"list","ref":"l"}`)
	m = p.next()
	require.Len(t, m.Calls, 1)
	require.Equal(t, "succeeded", m.Calls[0].Status)
	p.pings()
}

// web is the tests' HTTP client.
var web = &http.Client{Timeout: hang}
