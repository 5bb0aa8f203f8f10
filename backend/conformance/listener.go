package conformance

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

// Listener is an http.Handler that holds every attempt of a client to connect
// until the player says what becomes of it. It has the Accept of a
// ClientTarget, which is all of one but the client. It is safe for concurrent
// use.
type Listener struct {
	dials chan *dialIn

	mu      sync.Mutex
	sockets []*Socket
	closed  bool
}

// NewListener returns a listener. Close it when the client was closed.
func NewListener() *Listener { return &Listener{dials: make(chan *dialIn)} }

// ServeHTTP hands an attempt to connect to the player, and does what it says.
func (l *Listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := &dialIn{w: w, r: r, decided: make(chan struct{}), listener: l}
	select {
	case l.dials <- d:
	case <-r.Context().Done():
		return
	}
	select {
	case <-d.decided:
	case <-r.Context().Done():
	}
}

// Accept waits for the next attempt to connect.
func (l *Listener) Accept(ctx context.Context) (Dial, error) {
	select {
	case d := <-l.dials:
		return d, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close cuts all connections that were accepted.
func (l *Listener) Close() {
	l.mu.Lock()
	l.closed = true
	sockets := l.sockets
	l.sockets = nil
	l.mu.Unlock()
	for _, s := range sockets {
		s.Cut()
	}
}

// keep remembers a connection, so that it can be cut.
func (l *Listener) keep(s *Socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		s.Cut()
		return
	}
	l.sockets = append(l.sockets, s)
}

// dialIn is one attempt of a client to connect.
type dialIn struct {
	w        http.ResponseWriter
	r        *http.Request
	decided  chan struct{}
	listener *Listener
}

// Token is what the client brought, by the header or, as browsers do, by a
// subprotocol entry. Both present: the header counts.
func (d *dialIn) Token() string {
	if token, ok := strings.CutPrefix(d.r.Header.Get("Authorization"), "Bearer "); ok {
		return token
	}
	for _, p := range websocket.Subprotocols(d.r) {
		if token, ok := strings.CutPrefix(p, wire.BearerPrefix); ok {
			return token
		}
	}
	return ""
}

func (d *dialIn) Offered() []string {
	return slices.DeleteFunc(websocket.Subprotocols(d.r), func(s string) bool { return strings.HasPrefix(s, wire.BearerPrefix) })
}

func (d *dialIn) Accept(subprotocol string) (Conn, error) {
	defer close(d.decided)
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	if subprotocol != "" {
		upgrader.Subprotocols = []string{subprotocol}
	}
	ws, err := upgrader.Upgrade(d.w, d.r, nil)
	if err != nil {
		return nil, err
	}
	s := NewSocket(ws, nil)
	d.listener.keep(s)
	return s, nil
}

func (d *dialIn) Refuse(status int, body []byte) error {
	defer close(d.decided)
	d.w.Header().Set("Content-Type", "application/json")
	d.w.WriteHeader(status)
	_, err := d.w.Write(body)
	return err
}
