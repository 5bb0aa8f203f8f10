package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/require"
)

// refused is the status and the code that a handshake is refused with.
func (h *host) refused(header http.Header) (status int, code, text string) {
	h.Helper()
	_, response, err := h.dialer.Dial(h.url, header)
	require.Error(h, err)
	require.NotNil(h, response, "%v", err)
	defer func() { _ = response.Body.Close() }()
	var body struct{ Code, Message string }
	require.NoError(h, json.NewDecoder(response.Body).Decode(&body))
	if response.StatusCode == http.StatusServiceUnavailable {
		require.NotEmpty(h, response.Header.Get("Retry-After"))
	}
	return response.StatusCode, body.Code, body.Message
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// pings asserts that a peer is served.
func (p *peer) pings() {
	p.Helper()
	p.send(`{"type":"ping"}`)
	p.expect(wire.TypePong)
}

// callInBatch sends a request behind a ping, and returns its answer.
func (p *peer) callInBatch(action, payload string) wire.ServerMessage {
	p.Helper()
	id := wire.NewID()
	p.send(`[{"type":"ping"},{"type":"request","id":"%s","action":"%s","payload":%s}]`, id, action, payload)
	p.expect(wire.TypePong)
	m := p.next()
	require.Equal(p, id, m.ID)
	if m.Type == wire.TypeError {
		require.Equal(p, 1, *m.Index, "in a batch it has its place")
	}
	return m
}

// awaitCapacity waits until there is room for a connection.
func (h *host) awaitCapacity(token string) {
	h.Helper()
	require.Eventually(h, func() bool {
		ws, response, err := h.dialer.Dial(h.url, bearer(token))
		if err == nil {
			_ = ws.Close()
		}
		_ = response.Body.Close()
		return err == nil
	}, hang, 10*time.Millisecond, "what was given back can be taken")
}

// requireOverloaded asserts a refusal that says when to come again.
func requireOverloaded(t *testing.T, m wire.ServerMessage) {
	t.Helper()
	require.Equal(t, wire.CodeOverloaded, m.Code, "%+v", m)
	require.False(t, *m.Final)
	require.True(t, *m.Retryable)
	require.Positive(t, m.RetryAfterMs)
}

func TestTenantsShareConnections(t *testing.T) {
	h := start(t, server.Options{MaxConnections: 10})
	var mine []*peer
	for range 8 {
		mine = append(mine, h.dial("ann"))
	}
	status, code, text := h.refused(bearer("bob"))
	require.Equal(t, 503, status)
	require.Equal(t, wire.CodeUnavailable, code)
	require.Contains(t, text, "tenant")
	h.dial("eve").pings()
	h.dial("zoe").pings()
	status, code, text = h.refused(bearer("eve"))
	require.Equal(t, 503, status)
	require.Equal(t, wire.CodeUnavailable, code)
	require.Contains(t, text, "no room")
	require.NoError(t, mine[0].ws.Close())
	h.awaitCapacity("eve")
}

func TestConnectionsOfOne(t *testing.T) {
	h := start(t, server.Options{MaxSubjectConnections: 2, MaxTenantConnections: 3})
	h.dial("ann")
	last := h.dial("ann")
	_, code, text := h.refused(bearer("ann"))
	require.Equal(t, wire.CodeUnavailable, code)
	require.Contains(t, text, "subject")
	h.dial("bob")
	_, _, text = h.refused(bearer("bob"))
	require.Contains(t, text, "tenant")
	h.dial("eve").pings()
	require.NoError(t, last.ws.Close())
	h.awaitCapacity("ann")
}

// Handshakes are judged so often and no more: not even a signature is verified
// for those beyond.
func TestHandshakeRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		judged := 0
		h := inBubble(t, router(), server.Options{HandshakeRate: 3, Auth: auth.AuthenticatorFunc(func(ctx context.Context, token string) (auth.Identity, error) {
			judged++
			return identities.Authenticate(ctx, token)
		})})
		p := h.dial("ann")
		refused := 0
		for range 6 {
			status, code, _ := h.refused(bearer("nobody"))
			if status == http.StatusServiceUnavailable {
				require.Equal(t, wire.CodeUnavailable, code)
				refused++
			}
		}
		require.Equal(t, 4, refused)
		require.Equal(t, 3, judged)
		p.pings()
	})
}

// Whoever sends too much is refused first, and if that does not help, not read.
func TestMessageRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 50
		h := inBubble(t, router(), server.Options{MessageRate: rate})
		p, other := h.dial("ann"), h.dial("ann")
		for range rate {
			p.send(`{"type":"ping"}`)
		}
		id := wire.NewID()
		begun := time.Now()
		p.send(`[{"type":"ping"},{"type":"request","id":"%s","action":"echo"}]`, id)
		for range 4 * rate {
			p.send(`{"type":"cancel","ref":"r","id":"%s"}`, id)
		}
		for range rate {
			p.expect(wire.TypePong)
		}
		m := p.next(wire.TypePong) // time passes
		requireOverloaded(t, m)
		if m.ID == "" {
			require.Equal(t, 0, *m.Index)
			m = p.next()
		}
		require.Equal(t, 1, *m.Index, "in a batch it has its place")
		require.Equal(t, id, m.ID)
		refused := 0
		for range 4 * rate {
			if m := p.next(); m.Type == wire.TypeError {
				requireOverloaded(t, m)
				require.Equal(t, "r", m.Ref)
				refused++
			}
			if refused%rate == 0 {
				other.pings()
			}
		}
		require.Greater(t, refused, 3*rate)
		require.Greater(t, time.Since(begun), 2*time.Second, "6 s worth of messages, of which 2 s are given and 1 s is owed")
	})
}

func TestWebSocketPingsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := inBubble(t, router(), server.Options{MessageRate: 5})
		p := h.dial("ann")
		pongs := 0
		p.ws.SetPongHandler(func(string) error { pongs++; return nil })
		sent := make(chan error, 1)
		go func() { // pongs must be read meanwhile
			var err error
			for i := 0; i < 20 && err == nil; i++ {
				err = p.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(hang))
			}
			sent <- errors.Join(err, p.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`)))
		}()
		requireOverloaded(t, p.next())
		require.NoError(t, <-sent)
		require.Equal(t, 5, pongs)
	})
}

// A tenant asks for so many calls a second, on however many connections; a
// reconnect forgives nothing.
func TestCallRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := inBubble(t, router(), server.Options{CallRate: 4})
		refused := 0
		call := func(p *peer) {
			if m := p.callInBatch("echo", "1"); m.Type == wire.TypeError {
				requireOverloaded(t, m)
				refused++
			}
		}
		for range 6 {
			p := h.dial("ann")
			call(p)
			call(p)
			require.NoError(t, p.ws.Close())
		}
		require.Equal(t, 8, refused)
		refused = 0
		for range 4 {
			call(h.dial("eve"))
		}
		require.Zero(t, refused, "another tenant")
	})
}

func heapNow() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Invariant 9: answers are bounded by bytes: as soon as it is known how large an
// action's are, no more of them are promised than a connection may have.
func TestInvariant09PromisesAreCounted(t *testing.T) {
	open, gate := make(chan struct{}), make(chan struct{})
	close(open)
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "big", func(ctx context.Context, wait bool) (string, error) {
		through := open
		if wait {
			through = gate
		}
		select {
		case <-through:
			return strings.Repeat("x", 95<<10), nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
	h := startWith(t, r, server.Options{PendingBytes: 1 << 20})
	p := h.dial("ann")
	p.call("big", "false")
	p.expect(wire.TypeResult)
	for range 20 {
		p.call("big", "true")
	}
	for range 10 {
		requireOverloaded(t, p.next())
	}
	p.pings()
	requireOverloaded(t, p.callInBatch("big", "true"))
	close(gate)
	for range 10 {
		p.expect(wire.TypeResult)
	}
	p.call("big", "true")
	p.expect(wire.TypeResult) // there is room again
}

// What messages brought counts, too.
func TestInvariant09InputsAreCounted(t *testing.T) {
	h := start(t, server.Options{PendingBytes: 256 << 10})
	p := h.dial("ann")
	large := `"` + strings.Repeat("x", 30<<10) + `"`
	for range 10 {
		p.call("wait", large)
	}
	requireOverloaded(t, p.next())
	p.send("%s", `{"type":"ping"}`+strings.Repeat(" ", 30<<10))
	p.next(wire.TypeError)
}

// Invariant 9: whoever has had large answers made, before it was known that they are
// large, and reads none, is cut off, and others are served.
func TestInvariant09UnreadAnswersEndTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var begun, ended atomic.Int32
		r := streamer.NewRouter(nil)
		streamer.Handle(r, "big", func(_ context.Context, size int) (string, error) {
			begun.Add(1)
			defer ended.Add(1)
			<-gate // whether or not the connection is there: each makes its answer
			return strings.Repeat("x", size), nil
		})
		h := inBubble(t, r, server.Options{PendingBytes: 1 << 20})
		p, other := h.dial("ann"), h.dial("ann")
		before := heapNow()
		const calls = 400 // 39 MB
		for range calls {
			p.call("big", "97000")
		}
		p.send(`{"type":"ping"}`)
		other.pings()
		synctest.Wait()
		require.EqualValues(t, calls, begun.Load(), "all were let in before it is known how large the answers are")
		close(gate)
		synctest.Wait()
		require.EqualValues(t, calls, ended.Load())
		require.Less(t, heapNow(), before+12<<20)
		other.pings()
		require.Equal(t, wire.CloseTryLater, p.closed())
	})
}

// Invariant 9: what messages hold on all connections together is bounded, and shared
// by tenants.
func TestInvariant09MemoryIsShared(t *testing.T) {
	h := start(t, server.Options{MaxMemory: 4 << 20})
	large := `"` + strings.Repeat("x", 30<<10) + `"`
	refused := 0
	var mine []*peer
	for range 10 {
		p := h.dial("ann")
		mine = append(mine, p)
		for range 20 {
			p.call("wait", large)
		}
		p.send(`{"type":"subscribe","ref":"last","id":"%s"}`, wire.NewID())
		for m := p.next(); m.Ref != "last"; m = p.next() {
			requireOverloaded(t, m)
			refused++
		}
	}
	runs := 200 - refused
	require.Greater(t, runs, 60)
	require.Less(t, runs, 4<<20*4/5/(30<<10)+10)
	eve := h.dial("eve")
	id := eve.call("echo", large)
	require.Equal(t, id, eve.next().ID, "another tenant has room")
	for _, p := range mine {
		require.NoError(t, p.ws.Close())
	}
}

// What waits to be sent counts, too: who has much of it and reads nothing is cut
// off, and not read for ever after.
func TestInvariant09UnreadCountsForAll(t *testing.T) {
	h := start(t, server.Options{MaxMemory: 1 << 20, OutboxBytes: 64 << 20})
	before := heapNow()
	frame := fullBatch(`{"type":"ping"}`)
	p := h.dial("ann")
	require.NoError(t, p.ws.SetWriteDeadline(time.Now().Add(unhurried)))
	var err error
	for err == nil {
		err = p.ws.WriteMessage(websocket.TextMessage, frame)
	}
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it is cut off")
	require.Less(t, heapNow(), before+8<<20)
	h.dial("ann").pings()
}

// One connection follows so many streams; who stops following one has room.
func TestStreamsOfAConnection(t *testing.T) {
	h := start(t, server.Options{MaxStreams: 3})
	p := h.dial("ann")
	var ids []string
	for range 3 {
		ids = append(ids, p.asyncWait())
		p.expect(wire.TypeAck)
	}
	id := p.asyncWait()
	m := p.next()
	requireOverloaded(t, m)
	require.Equal(t, id, m.ID)
	p.send(`[{"type":"subscribe","ref":"s","id":"%s"}]`, ids[0])
	m = p.next()
	requireOverloaded(t, m)
	require.Equal(t, "s", m.Ref)
	require.Equal(t, 0, *m.Index)
	p.send(`{"type":"unsubscribe","ref":"u","id":"%s"}`, ids[0])
	p.expect(wire.TypeOK)
	p.asyncWait()
	p.expect(wire.TypeAck)
	other := h.dial("ann")
	other.asyncWait()
	other.expect(wire.TypeAck) // each connection for itself
}

func (p *peer) asyncWait() string {
	p.Helper()
	id := wire.NewID()
	p.send(`{"type":"request","id":"%s","action":"wait","mode":"async"}`, id)
	return id
}

// Invariant 5: one tenant's inline calls, on many connections and after reconnects,
// do not make another's overloaded.
func TestInvariant05InlineCallsAreShared(t *testing.T) {
	h := start(t, server.Options{MaxInline: 10})
	for range 2 {
		p := h.dial("ann")
		for range 10 {
			p.call("wait", "null")
		}
		requireOverloaded(t, p.next())
		require.NoError(t, p.ws.Close()) // what runs runs on
	}
	requireOverloaded(t, h.dial("ann").callInBatch("echo", "1"))
	eve := h.dial("eve")
	eve.call("echo", "1")
	eve.expect(wire.TypeResult)
}

// listening is a server with a listener of its own.
func listening(t *testing.T, o server.Options) (address string) {
	t.Helper()
	o.Auth, o.Data, o.Logger = identities, t.TempDir()+"/streamer.db", discarded
	s, err := server.New(router(), &o)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return l.Addr().String()
}

// Sockets that say nothing, or little, are closed in time, and earlier when
// others want in.
func TestSlowHandshakes(t *testing.T) {
	address := listening(t, server.Options{MaxHandshakes: 4, HandshakeTimeout: unhurried})
	var silent []net.Conn
	for range 6 { // the last two wait in the system's queue
		c, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		silent = append(silent, c)
	}
	ws, response, err := dialer.Dial("ws://"+address, bearer("ann"))
	require.NoError(t, err, "they do not keep others out")
	require.NoError(t, response.Body.Close())
	require.NoError(t, ws.Close())
	require.NoError(t, silent[0].SetReadDeadline(time.Now().Add(hang)))
	_, err = bufio.NewReader(silent[0]).ReadByte()
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestHandshakeTimeout(t *testing.T) {
	address := listening(t, server.Options{HandshakeTimeout: 100 * time.Millisecond})
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	_, err = c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nX: "))
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(hang)))
	for err == nil {
		_, err = c.Read(make([]byte, 1024))
	}
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the server closes")
}
