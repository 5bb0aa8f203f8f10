package server

import (
	"sync"

	"github.com/pay-theory/streamer/backend/internal/deliver"
)

// hub knows the connections of this process, and posts to them. It is safe for
// concurrent use.
type hub struct {
	mu     sync.RWMutex
	conns  map[string]*conn
	closed bool
	// readers counts the connections whose reading has not ended.
	readers sync.WaitGroup
}

var _ deliver.Poster = (*hub)(nil)

// add takes a connection in, unless there are max of them or the hub is
// closed.
func (h *hub) add(c *conn, max int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.conns) >= max {
		return false
	}
	h.conns[c.address.Connection] = c
	h.readers.Add(1)
	return true
}

func (h *hub) remove(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c.address.Connection)
	h.readers.Done()
}

// close takes no more connections in, and returns those that are there.
func (h *hub) close() []*conn {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	return h.all()
}

func (h *hub) len() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.conns)
}

func (h *hub) all() []*conn {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := make([]*conn, 0, len(h.conns))
	for _, c := range h.conns {
		out = append(out, c)
	}
	return out
}

// find returns a connection of a tenant; ids alone cross no wall.
func (h *hub) find(a deliver.Address) *conn {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if c := h.conns[a.Connection]; c != nil && c.address == a {
		return c
	}
	return nil
}

// Alive implements deliver.Poster.
func (h *hub) Alive(to deliver.Address) bool {
	c := h.find(to)
	return c != nil && !c.closed.Load()
}

// Post implements deliver.Poster.
func (h *hub) Post(to deliver.Address, messages ...[]byte) error {
	c := h.find(to)
	if c == nil {
		return deliver.ErrGone
	}
	start, err := c.out.add(false, messages...)
	if start {
		c.s.crew.run(writing{c})
	}
	return err
}

// Put implements deliver.Poster.
func (h *hub) Put(to deliver.Address, slot deliver.Slot, message []byte) error {
	c := h.find(to)
	if c == nil {
		return deliver.ErrGone
	}
	start, err := c.out.put(slot, message)
	if start {
		c.s.crew.run(writing{c})
	}
	return err
}
