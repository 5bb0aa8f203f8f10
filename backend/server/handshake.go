package server

import (
	"container/list"
	"net"
	"net/http"
	"sync"
	"time"
)

// patienceForHandshakes is how long a socket may take for its handshake when
// others wait to be accepted.
const patienceForHandshakes = time.Second

// handshaking holds the sockets of an http.Server that are not WebSockets yet,
// and bounds them: who opens sockets and says little, or nothing, costs others
// at most a moment's wait. It is safe for concurrent use.
type handshaking struct {
	max int
	// patience is patienceForHandshakes, but in tests.
	patience time.Duration

	mu      sync.Mutex
	sockets list.List // of socket, the oldest first
	places  map[net.Conn]*list.Element
	// left is closed when a socket leaves; nil: nobody waits for that.
	left chan struct{}
}

type socket struct {
	conn  net.Conn
	since time.Time
}

func newHandshaking(max int) *handshaking {
	return &handshaking{max: max, patience: patienceForHandshakes, places: map[net.Conn]*list.Element{}}
}

// watch is an http.Server's ConnState. Of a new socket it is told by the
// goroutine that accepts: while that waits, nobody else is accepted, and the
// system's queue holds them.
func (h *handshaking) watch(c net.Conn, state http.ConnState) {
	if state == http.StateNew {
		h.enter(c)
	}
	if state == http.StateHijacked || state == http.StateClosed {
		h.leave(c)
	}
}

// enter waits for a place, and makes one by closing the oldest socket once that
// has had time enough.
func (h *handshaking) enter(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.sockets.Len() >= h.max {
		oldest := h.sockets.Front().Value.(socket)
		wait := time.Until(oldest.since.Add(h.patience))
		if wait <= 0 {
			h.drop(oldest.conn)
			_ = oldest.conn.Close()
			continue
		}
		if h.left == nil {
			h.left = make(chan struct{})
		}
		left := h.left
		h.mu.Unlock()
		select {
		case <-left:
		case <-time.After(wait):
		}
		h.mu.Lock()
	}
	h.places[c] = h.sockets.PushBack(socket{c, time.Now()})
}

func (h *handshaking) leave(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(c)
}

func (h *handshaking) drop(c net.Conn) {
	place := h.places[c]
	if place == nil {
		return
	}
	delete(h.places, c)
	h.sockets.Remove(place)
	if h.left != nil {
		close(h.left)
		h.left = nil
	}
}
