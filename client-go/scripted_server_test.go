package client

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/client-go/internal/session"
	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what must come.
const testTimeout = time.Minute

// host is a scripted server over real sockets: each connect is handed to the
// test, which plays the server's part.
type scriptedServer struct {
	t        *testing.T
	server   *httptest.Server
	upgrader websocket.Upgrader
	accepted chan *serverConn
	// dial is how the client connects; nil: over TCP.
	dialContext func(ctx context.Context, network, address string) (net.Conn, error)

	mu sync.Mutex
	// refuse answers a connect with HTTP; false: let it pass.
	refuse func(w http.ResponseWriter, r *http.Request) bool
	conns  []*serverConn
}

// peer is the server's end of one connection.
type serverConn struct {
	t        *testing.T
	ws       *websocket.Conn
	header   http.Header
	messages chan wire.ClientMessage
	write    sync.Mutex
	// gone is closed when the client's end is closed; code says how.
	closed    chan struct{}
	closeCode int
}

func newServer(t *testing.T) *scriptedServer { return startServer(t, nil) }

// newHostInBubble is a host for tests in which little time passes: its network is
// in memory, and the bubble's clock stands still while there is anything to do.
func newServerInBubble(t *testing.T) *scriptedServer { return startServer(t, newPipeListener()) }

func startServer(t *testing.T, network *pipeListener) *scriptedServer {
	h := &scriptedServer{t: t, accepted: make(chan *serverConn, 64), upgrader: websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}}
	h.server = httptest.NewUnstartedServer(http.HandlerFunc(h.handleConnect))
	if network != nil {
		_ = h.server.Listener.Close()
		h.server.Listener, h.dialContext = network, network.dialContext
	}
	h.server.Start()
	t.Cleanup(func() {
		h.mu.Lock()
		for _, p := range h.conns {
			_ = p.ws.Close()
		}
		h.mu.Unlock()
		h.server.Close()
	})
	return h
}

func (h *scriptedServer) handleConnect(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	refuse := h.refuse
	h.mu.Unlock()
	if refuse != nil && refuse(w, r) {
		return
	}
	ws, err := h.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	p := &serverConn{t: h.t, ws: ws, header: r.Header, messages: make(chan wire.ClientMessage, 4096), closed: make(chan struct{})}
	h.mu.Lock()
	h.conns = append(h.conns, p)
	h.mu.Unlock()
	h.accepted <- p
	p.readLoop()
}

func (p *serverConn) readLoop() {
	defer close(p.closed)
	for {
		_, data, err := p.ws.ReadMessage()
		if err != nil {
			var ce *websocket.CloseError
			if errors.As(err, &ce) {
				p.closeCode = ce.Code
			}
			return
		}
		items, _, bad := wire.DecodeClientFrame(data)
		if bad != nil || len(data) > wire.MaxClientMessage {
			p.t.Errorf("the client sent a bad frame of %d bytes: %v", len(data), bad)
			return
		}
		for _, item := range items {
			if item.Err != nil {
				p.t.Errorf("the client sent a bad message: %v", item.Err)
			}
			p.messages <- item.Message
		}
	}
}

// accept waits for the next connection.
func (h *scriptedServer) acceptConn() *serverConn {
	h.t.Helper()
	select {
	case p := <-h.accepted:
		return p
	case <-time.After(testTimeout):
		require.FailNow(h.t, "nobody connects")
		return nil
	}
}

// open returns a client of the host and the first peer.
func (h *scriptedServer) connect(opts *Options) (*Client, *serverConn) {
	h.t.Helper()
	c := h.newClient(opts)
	return c, h.acceptConn()
}

func (h *scriptedServer) newClient(opts *Options) *Client {
	h.t.Helper()
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.timing == (session.Timing{}) {
		o.timing = session.Timing{BackoffBase: time.Millisecond, BackoffMax: 5 * time.Millisecond}
	}
	for _, d := range []*time.Duration{&o.timing.AnswerRequest, &o.timing.Answer, &o.timing.PingWait} {
		if *d == 0 { // a busy machine may take long
			*d = 10 * time.Minute
		}
	}
	if o.DialContext == nil {
		o.DialContext = h.dialContext
	}
	c, err := New(h.server.URL, &o)
	require.NoError(h.t, err)
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		require.NoError(h.t, c.Close(ctx))
	})
	return c
}

// next waits for the client's next message, pings aside, and checks its type.
func (p *serverConn) expect(kind string) wire.ClientMessage {
	p.t.Helper()
	for {
		select {
		case m := <-p.messages:
			if m.Type == wire.TypePing && kind != wire.TypePing {
				continue
			}
			require.Equal(p.t, kind, m.Type, "%+v", m)
			return m
		case <-time.After(testTimeout):
			require.FailNow(p.t, "the client does not send "+kind)
		}
	}
}

// closed waits until the client has closed the connection and returns the
// close code.
func (p *serverConn) waitClosed() int {
	p.t.Helper()
	select {
	case <-p.closed:
		return p.closeCode
	case <-time.After(testTimeout):
		require.FailNow(p.t, "the client does not close the connection")
		return 0
	}
}

// send sends messages in one frame.
func (p *serverConn) send(msgs ...wire.ServerMessage) {
	if len(msgs) == 1 {
		p.sendRaw(msgs[0].Append(nil))
		return
	}
	frame := []byte{'['}
	for i := range msgs {
		if i > 0 {
			frame = append(frame, ',')
		}
		frame = msgs[i].Append(frame)
	}
	p.sendRaw(append(frame, ']'))
}

func (p *serverConn) sendRaw(frame []byte) {
	p.write.Lock()
	defer p.write.Unlock()
	_ = p.ws.WriteMessage(websocket.TextMessage, frame) // a cut one fails
}

// cut breaks the connection without a goodbye.
func (p *serverConn) breakConn() { _ = p.ws.NetConn().Close() }

// hangUp closes with a code.
func (p *serverConn) closeWith(code int) {
	p.write.Lock()
	_ = p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(testTimeout))
	p.write.Unlock()
	p.waitClosed()
	p.breakConn()
}

// The messages of a server, short.
func ackMsg(id string) wire.ServerMessage {
	return wire.ServerMessage{Type: wire.TypeAck, ID: id, Seq: 1, Epoch: 7}
}

func chunkMsg(id string, seq uint64, data string) wire.ServerMessage {
	return wire.ServerMessage{Type: wire.TypeChunk, ID: id, Seq: seq, Attempt: 1, Data: json.RawMessage(data)}
}

func resultMsg(id string, seq uint64, payload string) wire.ServerMessage {
	return wire.ServerMessage{Type: wire.TypeResult, ID: id, Seq: seq, Payload: json.RawMessage(payload)}
}

func progressMsg(id string, attempt int, rev uint64, percent float64) wire.ServerMessage {
	return wire.ServerMessage{Type: wire.TypeProgress, ID: id, Attempt: attempt, Rev: rev, Percent: &percent}
}

func errorMsg(id, ref, code string, final bool) wire.ServerMessage {
	m := wire.ErrorMessage(code, "because", final)
	m.ID, m.Ref = id, ref
	return m
}

// pageOf answers a subscribe.
func snapshotMsg(ref, id string, lastSeq uint64, more bool, events ...wire.ServerMessage) wire.ServerMessage {
	for i := range events {
		events[i].ID = ""
	}
	return wire.ServerMessage{
		Type: wire.TypeSnapshot, Ref: ref, ID: id, Epoch: 7, Action: "a", Status: "running", Attempt: 1, Keep: 1,
		LastSeq: lastSeq, Events: events, More: &more,
	}
}

func okMsg(ref string) wire.ServerMessage { return wire.ServerMessage{Type: wire.TypeOK, Ref: ref} }

// within returns a context that ends when the test has waited too long.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// later runs f in a goroutine and returns what waits for its result.
func inBackground[R any](t *testing.T, f func() (R, error)) func() (R, error) {
	type outcome struct {
		r   R
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		r, err := f()
		done <- outcome{r, err}
	}()
	return func() (R, error) {
		t.Helper()
		select {
		case o := <-done:
			return o.r, o.err
		case <-time.After(testTimeout):
			require.FailNow(t, "it does not return")
			var zero R
			return zero, nil
		}
	}
}

// bearer returns the token of a connect.
func (p *serverConn) bearerToken() string {
	return strings.TrimPrefix(p.header.Get("Authorization"), "Bearer ")
}
