package server

import (
	"container/list"
	"net"
	"net/http"
	"sync"
	"time"
)

// minHandshakeAge is how long a socket may take for its handshake when others
// wait to be accepted.
const minHandshakeAge = time.Second

// handshakeLimiter holds the sockets of an http.Server that are not WebSockets
// yet, and bounds them: a client that opens sockets and sends little costs others
// at most a short wait. It is safe for concurrent use.
type handshakeLimiter struct {
	max int

	mu       sync.Mutex
	sockets  list.List // of handshakeSocket, the oldest first
	elements map[net.Conn]*list.Element
	// removed is closed when a socket is removed; nil: nobody waits.
	removed chan struct{}
}

type handshakeSocket struct {
	conn     net.Conn
	accepted time.Time
}

func newHandshakeLimiter(max int) *handshakeLimiter {
	return &handshakeLimiter{max: max, elements: map[net.Conn]*list.Element{}}
}

// onState is an http.Server's ConnState. For a new socket it runs on the goroutine
// that accepts: while it waits, the system's queue holds the others.
func (h *handshakeLimiter) onState(c net.Conn, state http.ConnState) {
	if state == http.StateNew {
		h.add(c)
	}
	if state == http.StateHijacked || state == http.StateClosed {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.remove(c)
	}
}

// add waits for room, and makes some by closing the oldest socket when that is
// old enough.
func (h *handshakeLimiter) add(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.sockets.Len() >= h.max {
		oldest := h.sockets.Front().Value.(handshakeSocket)
		wait := time.Until(oldest.accepted.Add(minHandshakeAge))
		if wait <= 0 {
			h.remove(oldest.conn)
			_ = oldest.conn.Close()
			continue
		}
		if h.removed == nil {
			h.removed = make(chan struct{})
		}
		removed := h.removed
		h.mu.Unlock()
		select {
		case <-removed:
		case <-time.After(wait):
		}
		h.mu.Lock()
	}
	h.elements[c] = h.sockets.PushBack(handshakeSocket{c, time.Now()})
}

// remove forgets a socket. The lock is held.
func (h *handshakeLimiter) remove(c net.Conn) {
	element := h.elements[c]
	if element == nil {
		return
	}
	delete(h.elements, c)
	h.sockets.Remove(element)
	if h.removed != nil {
		close(h.removed)
		h.removed = nil
	}
}
