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
const patience = time.Minute

// host is a scripted server over real sockets: each connect is handed to the
// test, which plays the server's part.
type host struct {
	t        *testing.T
	server   *httptest.Server
	upgrader websocket.Upgrader
	peers    chan *peer
	// dial is how the client connects; nil: over TCP.
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu sync.Mutex
	// refuse answers a connect with HTTP; false: let it pass.
	refuse func(w http.ResponseWriter, r *http.Request) bool
	all    []*peer
}

// peer is the server's end of one connection.
type peer struct {
	t      *testing.T
	ws     *websocket.Conn
	header http.Header
	in     chan wire.ClientMessage
	write  sync.Mutex
	// gone is closed when the client's end is closed; code says how.
	gone chan struct{}
	code int
}

func newHost(t *testing.T) *host { return startHost(t, nil) }

// newHostInBubble is a host for tests in which little time passes: its network is
// in memory, and the bubble's clock stands still while there is anything to do.
func newHostInBubble(t *testing.T) *host { return startHost(t, newPipes()) }

func startHost(t *testing.T, network *pipes) *host {
	h := &host{t: t, peers: make(chan *peer, 64), upgrader: websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}}
	h.server = httptest.NewUnstartedServer(http.HandlerFunc(h.serve))
	if network != nil {
		_ = h.server.Listener.Close()
		h.server.Listener, h.dial = network, network.dial
	}
	h.server.Start()
	t.Cleanup(func() {
		h.mu.Lock()
		for _, p := range h.all {
			_ = p.ws.Close()
		}
		h.mu.Unlock()
		h.server.Close()
	})
	return h
}

func (h *host) serve(w http.ResponseWriter, r *http.Request) {
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
	p := &peer{t: h.t, ws: ws, header: r.Header, in: make(chan wire.ClientMessage, 4096), gone: make(chan struct{})}
	h.mu.Lock()
	h.all = append(h.all, p)
	h.mu.Unlock()
	h.peers <- p
	p.read()
}

func (p *peer) read() {
	defer close(p.gone)
	for {
		_, data, err := p.ws.ReadMessage()
		if err != nil {
			var ce *websocket.CloseError
			if errors.As(err, &ce) {
				p.code = ce.Code
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
			p.in <- item.Message
		}
	}
}

// accept waits for the next connection.
func (h *host) accept() *peer {
	h.t.Helper()
	select {
	case p := <-h.peers:
		return p
	case <-time.After(patience):
		require.FailNow(h.t, "nobody connects")
		return nil
	}
}

// open returns a client of the host and the first peer.
func (h *host) open(opts *Options) (*Client, *peer) {
	h.t.Helper()
	c := h.client(opts)
	return c, h.accept()
}

func (h *host) client(opts *Options) *Client {
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
		o.DialContext = h.dial
	}
	c, err := New(h.server.URL, &o)
	require.NoError(h.t, err)
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(h.t, c.Close(ctx))
	})
	return c
}

// next waits for the client's next message, pings aside, and checks its type.
func (p *peer) next(kind string) wire.ClientMessage {
	p.t.Helper()
	for {
		select {
		case m := <-p.in:
			if m.Type == wire.TypePing && kind != wire.TypePing {
				continue
			}
			require.Equal(p.t, kind, m.Type, "%+v", m)
			return m
		case <-time.After(patience):
			require.FailNow(p.t, "the client does not send "+kind)
		}
	}
}

// closed waits until the client has closed the connection and returns the
// close code.
func (p *peer) closed() int {
	p.t.Helper()
	select {
	case <-p.gone:
		return p.code
	case <-time.After(patience):
		require.FailNow(p.t, "the client does not close the connection")
		return 0
	}
}

// send sends messages in one frame.
func (p *peer) send(msgs ...wire.ServerMessage) {
	if len(msgs) == 1 {
		p.raw(msgs[0].Append(nil))
		return
	}
	frame := []byte{'['}
	for i := range msgs {
		if i > 0 {
			frame = append(frame, ',')
		}
		frame = msgs[i].Append(frame)
	}
	p.raw(append(frame, ']'))
}

func (p *peer) raw(frame []byte) {
	p.write.Lock()
	defer p.write.Unlock()
	_ = p.ws.WriteMessage(websocket.TextMessage, frame) // a cut one fails
}

// cut breaks the connection without a goodbye.
func (p *peer) cut() { _ = p.ws.NetConn().Close() }

// hangUp closes with a code.
func (p *peer) hangUp(code int) {
	p.write.Lock()
	_ = p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(patience))
	p.write.Unlock()
	p.closed()
	p.cut()
}

// The messages of a server, short.
func ackOf(id string) wire.ServerMessage {
	return wire.ServerMessage{Type: wire.TypeAck, ID: id, Seq: 1, Epoch: 7}
}

func chunkOf(id string, seq uint64, data string) wire.ServerMessage {
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
func pageOf(ref, id string, lastSeq uint64, more bool, events ...wire.ServerMessage) wire.ServerMessage {
	for i := range events {
		events[i].ID = ""
	}
	return wire.ServerMessage{
		Type: wire.TypeSnapshot, Ref: ref, ID: id, Epoch: 7, Action: "a", Status: "running", Attempt: 1, Keep: 1,
		LastSeq: lastSeq, Events: events, More: &more,
	}
}

func okOf(ref string) wire.ServerMessage { return wire.ServerMessage{Type: wire.TypeOK, Ref: ref} }

// within returns a context that ends when the test has waited too long.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// later runs f in a goroutine and returns what waits for its result.
func later[R any](t *testing.T, f func() (R, error)) func() (R, error) {
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
		case <-time.After(patience):
			require.FailNow(t, "it does not return")
			var zero R
			return zero, nil
		}
	}
}

// bearer returns the token of a connect.
func (p *peer) bearer() string { return strings.TrimPrefix(p.header.Get("Authorization"), "Bearer ") }
