package conformance

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

// Listener is an http.Handler that holds every attempt of a client to connect
// until the player decides on it. Its Accept is that of a ClientTarget. It is
// safe for concurrent use.
type Listener struct {
	dials chan Dial
}

// NewListener returns a listener.
func NewListener() *Listener { return &Listener{dials: make(chan Dial)} }

// ServeHTTP gives an attempt to the player, and waits for the decision.
func (l *Listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := &heldDial{w: w, r: r, decided: make(chan struct{})}
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
func (l *Listener) Accept(ctx context.Context) (Dial, error) { return receive(ctx, l.dials) }

// receive returns the next value of a channel, the zero value if it is closed, or
// the error of ctx when that is done first.
func receive[T any](ctx context.Context, values <-chan T) (value T, err error) {
	select {
	case value = <-values:
		return value, nil
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

// heldDial is one attempt of a client to connect.
type heldDial struct {
	w       http.ResponseWriter
	r       *http.Request
	decided chan struct{}
}

// Token returns the token in the header or, as browsers send it, in a
// subprotocol. With both the header counts.
func (d *heldDial) Token() string {
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

func (d *heldDial) Offered() []string {
	return slices.DeleteFunc(websocket.Subprotocols(d.r), func(s string) bool { return strings.HasPrefix(s, wire.BearerPrefix) })
}

func (d *heldDial) Accept(subprotocol string) (Conn, error) {
	defer close(d.decided)
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	if subprotocol != "" {
		upgrader.Subprotocols = []string{subprotocol}
	}
	ws, err := upgrader.Upgrade(d.w, d.r, nil)
	if err != nil {
		return nil, err
	}
	return newSocket(ws, nil), nil
}

func (d *heldDial) Refuse(status int, body []byte) error {
	defer close(d.decided)
	d.w.Header().Set("Content-Type", "application/json")
	d.w.WriteHeader(status)
	_, err := d.w.Write(body)
	return err
}
