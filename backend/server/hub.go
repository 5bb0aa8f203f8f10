package server

import (
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/deliver"
)

// hub knows the connections of this process, and posts to them. It is safe for
// concurrent use.
type hub struct {
	mu     sync.RWMutex
	conns  map[string]*conn
	places register
	closed bool
	// readers counts the connections whose reading has not ended.
	readers sync.WaitGroup
}

var _ deliver.Poster = (*hub)(nil)

// reserve takes a place for a connection, or says why there is none.
func (h *hub) reserve(id auth.Identity, o *Options) (t *tenant, refusal string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, shuttingDown
	}
	return h.places.reserve(id, o, time.Now())
}

// release gives back a place that no connection has come to take.
func (h *hub) release(id auth.Identity) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.places.release(id.Tenant, id.Subject, time.Now())
}

// add takes a connection in, whose place was reserved, unless the hub is
// closed.
func (h *hub) add(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		h.places.release(c.address.Tenant, c.subject, time.Now())
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
	h.places.release(c.address.Tenant, c.subject, time.Now())
	h.readers.Done()
}

// full tells whether there is no place for anybody.
func (h *hub) full(o *Options) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.places.taken >= o.MaxConnections
}

// close takes no more connections in, and returns those that are there.
func (h *hub) close() []*conn {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	return h.all()
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
