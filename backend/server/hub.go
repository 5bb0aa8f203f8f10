package server

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
)

// hub knows the connections of this process. It is safe for concurrent use.
type hub struct {
	mu          sync.RWMutex
	connections map[*connection]struct{}
	limiter     connectionLimiter
	closed      bool
	// readers counts the connections whose reading has not ended.
	readers sync.WaitGroup
}

func newHub(o *Options) *hub {
	return &hub{connections: map[*connection]struct{}{}, limiter: newConnectionLimiter(o)}
}

// reserve takes room for a connection, or says why there is none.
func (h *hub) reserve(id *auth.Identity) (t *tenant, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, shuttingDown
	}
	return h.limiter.reserve(id, time.Now())
}

// release gives back room that was not used.
func (h *hub) release(tenant, subject string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limiter.release(tenant, subject, time.Now())
}

// add adds a connection, for which there is room, unless the hub is closed.
func (h *hub) add(c *connection) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		h.limiter.release(c.info.Identity.Tenant, c.info.Identity.Subject, time.Now())
		return false
	}
	h.connections[c] = struct{}{}
	h.readers.Add(1)
	return true
}

func (h *hub) remove(c *connection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.connections, c)
	h.limiter.release(c.info.Identity.Tenant, c.info.Identity.Subject, time.Now())
	h.readers.Done()
}

// isFull reports whether there is no room for any connection.
func (h *hub) isFull() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.limiter.taken >= h.limiter.options.MaxConnections
}

// close refuses further connections, and returns those that are there.
func (h *hub) close() []*connection {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	return h.all()
}

func (h *hub) all() []*connection {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Collect(maps.Keys(h.connections))
}

// done returns a channel that is closed when a group is done.
func done(g *sync.WaitGroup) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		g.Wait()
		close(out)
	}()
	return out
}

// awaitReaders waits until the clients have answered the close, or ends their
// connections after closeTimeout.
func (h *hub) awaitReaders() {
	ended := done(&h.readers)
	select {
	case <-ended:
	case <-time.After(closeTimeout):
		for _, c := range h.all() {
			c.closeNow()
		}
		<-ended
	}
}
