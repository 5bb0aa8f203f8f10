package campaign

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pay-theory/streamer/e2e/chaos/recorder"
)

// proxy passes bytes between clients and a server that comes and goes, and cuts
// connections after a random number of them. It is safe for concurrent use.
type proxy struct {
	wire recorder.Wire

	listener net.Listener
	cuts     atomic.Int64
	conns    sync.WaitGroup

	mu      sync.Mutex
	target  string // where the server listens; empty: nowhere
	budget  int64  // after about how many bytes connections are cut, at most; 0: never
	trigger *wireTrigger
	random  *rand.Rand
	closed  bool
	open    map[net.Conn]bool
}

// wireTrigger fires when the server sends an event of one of the types for the
// nth time.
type wireTrigger struct {
	types []string
	nth   int
	// arrives tells that the event reaches the client before fire is called.
	// Otherwise it never does.
	arrives bool
	// fire is called once, from any goroutine.
	fire func()
}

func newProxy(seed uint64, budget int64) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, random: rand.New(rand.NewPCG(seed, 2)), budget: budget, open: map[net.Conn]bool{}}
	p.conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.conns.Go(func() { p.serve(c) })
		}
	})
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// set sets the target, the budget or the trigger.
func (p *proxy) set(change func(p *proxy)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// cutAll cuts all connections.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		reset(c)
	}
	p.cuts.Add(int64(len(p.open) / 2))
}

// close closes everything and waits until it is done. It may be called again.
func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.open {
		reset(c)
	}
	p.mu.Unlock()
	p.conns.Wait()
}

// choose returns where a new connection goes, and after how many bytes in each
// direction it is cut.
func (p *proxy) choose() (target string, up, down int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	budget := func() int64 {
		if p.budget == 0 || p.random.IntN(3) == 0 {
			return 1 << 62
		}
		return 200 + p.random.Int64N(p.budget)
	}
	return p.target, budget(), budget()
}

func (p *proxy) serve(client net.Conn) {
	defer reset(client)
	target, up, down := p.choose()
	if target == "" {
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer reset(server)
	p.mu.Lock()
	p.open[client], p.open[server] = true, true
	closed := p.closed
	p.mu.Unlock()
	if !closed {
		p.pass(client, server, up, down)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, client)
	delete(p.open, server)
}

// errCut ends a connection.
var errCut = errors.New("cut")

// pass passes bytes both ways until a budget is used up or an end is gone.
func (p *proxy) pass(client, server net.Conn, up, down int64) {
	var both sync.WaitGroup
	both.Go(func() {
		defer reset(server)
		defer reset(client)
		buffer := make([]byte, 32<<10)
		for {
			n, err := client.Read(buffer)
			if errors.Join(err, p.forward(server, buffer[:n], &up)) != nil {
				return
			}
		}
	})
	both.Go(func() {
		defer reset(client)
		defer reset(server)
		// Whatever ends it, both connections are over.
		_ = p.wire.Listen(server, func(raw []byte, events []recorder.Event) error {
			t := p.fired(events)
			if t != nil && !t.arrives {
				t.fire()
				return errCut
			}
			err := p.forward(client, raw, &down)
			if t != nil {
				t.fire()
			}
			return err
		})
	})
	both.Wait()
}

// forward passes on what the budget allows.
func (p *proxy) forward(to io.Writer, piece []byte, budget *int64) error {
	n := min(int64(len(piece)), *budget)
	*budget -= n
	if _, err := to.Write(piece[:n]); err != nil {
		return err
	}
	if n < int64(len(piece)) {
		p.cuts.Add(1)
		return errCut
	}
	return nil
}

// fired returns the trigger if these events fire it.
func (p *proxy) fired(events []recorder.Event) *wireTrigger {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.trigger
	for i := range events {
		if t == nil || !events[i].Durable() || !slices.Contains(t.types, events[i].Type) {
			continue
		}
		if t.nth--; t.nth <= 0 {
			p.trigger = nil
			return t
		}
	}
	return nil
}

// reset closes a connection without a closing handshake.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
