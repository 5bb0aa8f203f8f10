package client

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testTimeout is how long a test waits before it fails. It only catches hangs.
const testTimeout = time.Minute

// scriptedServer is a server whose connections the test plays, message by
// message.
type scriptedServer struct {
	t        *testing.T
	server   *httptest.Server
	upgrader websocket.Upgrader
	accepted chan *serverConn
	// dialContext is how the client connects; nil: over TCP.
	dialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// refuse answers the handshake with HTTP and returns true, or returns
	// false to accept it. It is set before a client connects.
	refuse func(w http.ResponseWriter, r *http.Request) bool
}

// serverConn is the server's end of one connection.
type serverConn struct {
	t        *testing.T
	ws       *websocket.Conn
	header   http.Header
	messages chan wire.ClientMessage // closed with the connection
	write    sync.Mutex
	// closed gets the client's close code, or 0, when the connection is closed.
	closed chan int
}

func newServer(t *testing.T) *scriptedServer { return startServer(t, nil) }

// newServerInBubble returns a server for tests in a synctest bubble: its
// network is in memory, so that the bubble's clock only moves when nothing is
// left to do.
func newServerInBubble(t *testing.T) *scriptedServer { return startServer(t, newPipeListener()) }

func startServer(t *testing.T, network *pipeListener) *scriptedServer {
	s := &scriptedServer{t: t, accepted: make(chan *serverConn, 64), upgrader: websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.handleConnect))
	if network != nil {
		_ = s.server.Listener.Close()
		s.server.Listener, s.dialContext = network, network.dialContext
	}
	s.server.Start()
	t.Cleanup(s.server.Close)
	return s
}

func (s *scriptedServer) handleConnect(w http.ResponseWriter, r *http.Request) {
	if s.refuse != nil && s.refuse(w, r) {
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = ws.Close() }()
	c := &serverConn{t: s.t, ws: ws, header: r.Header, messages: make(chan wire.ClientMessage, 4096), closed: make(chan int, 1)}
	s.accepted <- c
	c.closed <- c.readMessages()
	close(c.closed)
	close(c.messages)
}

// readMessages reads until the connection is closed, and returns the close
// code.
func (c *serverConn) readMessages() int {
	for {
		_, data, err := c.ws.ReadMessage()
		if err != nil {
			if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
				return closed.Code
			}
			return 0
		}
		items, _, bad := wire.DecodeClientFrame(data)
		assert.Nil(c.t, bad, "the client sent an invalid frame")
		assert.LessOrEqual(c.t, len(data), wire.MaxClientMessage)
		for _, item := range items {
			assert.Nil(c.t, item.Err, "the client sent an invalid message")
			c.messages <- item.Message
		}
	}
}

// receive waits for a value from a channel; what says what it is.
func receive[T any](t *testing.T, from <-chan T, what string) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(testTimeout):
		require.FailNow(t, "there is no "+what)
	}
	return value
}

// serve answers each connection in a goroutine.
func (s *scriptedServer) serve(answer func(*serverConn)) {
	go func() {
		for p := range s.accepted {
			go answer(p)
		}
	}()
	s.t.Cleanup(func() { close(s.accepted) })
}

// acceptConn waits for the next connection.
func (s *scriptedServer) acceptConn() *serverConn {
	s.t.Helper()
	return receive(s.t, s.accepted, "connection")
}

// connect returns a client of a new server and its first connection.
func connect(t *testing.T, opts *Options) (*Client, *serverConn) {
	t.Helper()
	return newServer(t).connect(opts)
}

// connect returns a client of the server and the first connection.
func (s *scriptedServer) connect(opts *Options) (*Client, *serverConn) {
	s.t.Helper()
	c := s.newClient(opts)
	return c, s.acceptConn()
}

// newClient returns a client of the server that connects again at once.
func (s *scriptedServer) newClient(opts *Options) *Client {
	s.t.Helper()
	var o Options
	if opts != nil {
		o = *opts
	}
	o.timing.BackoffBase, o.timing.BackoffMax = time.Millisecond, 5*time.Millisecond
	// A busy machine may be slow.
	o.timing.AnswerRequest, o.timing.Answer, o.timing.PingWait = 10*time.Minute, 10*time.Minute, 10*time.Minute
	o.DialContext = s.dialContext
	c, err := New(s.server.URL, &o)
	require.NoError(s.t, err)
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		require.NoError(s.t, c.Close(ctx))
	})
	return c
}

// expect waits for the client's next message and checks its type. Unexpected
// pings are ignored.
func (c *serverConn) expect(kind string) wire.ClientMessage {
	c.t.Helper()
	for {
		m := receive(c.t, c.messages, kind)
		if m.Type == wire.TypePing && kind != wire.TypePing {
			continue
		}
		require.Equal(c.t, kind, m.Type, "%+v", m)
		return m
	}
}

// waitClosed waits until the client has closed the connection and returns the
// close code.
func (c *serverConn) waitClosed() int {
	c.t.Helper()
	return receive(c.t, c.closed, "end of the connection")
}

// send sends messages in one frame.
func (c *serverConn) send(msgs ...wire.ServerMessage) { c.sendRaw(appendFrame(nil, msgs)) }

// appendFrame appends a frame: one message as it is, several as a batch.
func appendFrame(frame []byte, msgs []wire.ServerMessage) []byte {
	if len(msgs) == 1 {
		return msgs[0].Append(frame)
	}
	frame = append(frame, '[')
	for i := range msgs {
		if i > 0 {
			frame = append(frame, ',')
		}
		frame = msgs[i].Append(frame)
	}
	return append(frame, ']')
}

func (c *serverConn) sendRaw(frame []byte) {
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.ws.WriteMessage(websocket.TextMessage, frame) // it fails if the connection is broken
}

// breakConn breaks the connection without a close frame.
func (c *serverConn) breakConn() { _ = c.ws.NetConn().Close() }

// closeWith closes the connection with a code.
func (c *serverConn) closeWith(code int) {
	c.write.Lock()
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(testTimeout))
	c.write.Unlock()
	c.waitClosed()
	c.breakConn()
}

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

// snapshotMsg is the answer to a subscribe.
func snapshotMsg(ref, id string, lastSeq uint64, more bool, events ...wire.ServerMessage) wire.ServerMessage {
	events = slices.Clone(events)
	for i := range events {
		events[i].ID = ""
	}
	return wire.ServerMessage{
		Type: wire.TypeSnapshot, Ref: ref, ID: id, Epoch: 7, Action: "a", Status: "running", Attempt: 1, Keep: 1,
		LastSeq: lastSeq, Events: events, More: &more,
	}
}

func okMsg(ref string) wire.ServerMessage { return wire.ServerMessage{Type: wire.TypeOK, Ref: ref} }

// testContext returns a context that ends after testTimeout.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// background is a function that runs in a goroutine.
type background[R any] struct {
	t      *testing.T
	done   chan struct{}
	result R
	err    error
}

// inBackground runs f in a goroutine.
func inBackground[R any](t *testing.T, f func() (R, error)) *background[R] {
	b := &background[R]{t: t, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		b.result, b.err = f()
	}()
	return b
}

// wait waits until the function returns.
func (b *background[R]) wait() (R, error) {
	b.t.Helper()
	receive(b.t, b.done, "return of the function")
	return b.result, b.err
}

// requireResult waits for the function's result.
func (b *background[R]) requireResult(want R) {
	b.t.Helper()
	got, err := b.wait()
	require.NoError(b.t, err)
	require.Equal(b.t, want, got)
}

// bearerToken returns the token of the handshake.
func (c *serverConn) bearerToken() string {
	return strings.TrimPrefix(c.header.Get("Authorization"), "Bearer ")
}
