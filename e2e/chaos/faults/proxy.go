package faults

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pay-theory/streamer/e2e/chaos/witness"
)

// Proxy passes bytes between clients and a server that comes and goes, and cuts
// connections after a random number of them. Its witness sees what the server
// says. It is safe for concurrent use.
type Proxy struct {
	Witness witness.Witness

	listener net.Listener
	cuts     atomic.Int64
	conns    sync.WaitGroup

	mu      sync.Mutex
	target  string
	random  *rand.Rand
	budget  int64
	calm    bool
	closed  bool
	trigger *Trigger
	open    map[net.Conn]bool
}

// Trigger fires when something of one of the types was told for the nth time.
type Trigger struct {
	Types []string
	Nth   int
	// Arrives tells that what was told reaches the client before Fire is
	// called. If not, it never does.
	Arrives bool
	// Fire is called once, from any goroutine.
	Fire func()
}

// NewProxy returns a proxy that listens on the loopback. A connection is cut
// after at most about budget bytes in one direction; some live longer.
func NewProxy(seed uint64, budget int64) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, random: rand.New(rand.NewPCG(seed, 2)), budget: budget, open: map[net.Conn]bool{}}
	p.conns.Add(1)
	go p.accept()
	return p, nil
}

// Address is where clients connect.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// SetTarget says where the server listens now; empty: nowhere.
func (p *Proxy) SetTarget(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = address
}

// Arm sets the trigger, in place of the one before; nil: none.
func (p *Proxy) Arm(t *Trigger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trigger = t
}

// Calm ends the cutting.
func (p *Proxy) Calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calm = true
}

// Cuts returns how many connections were cut.
func (p *Proxy) Cuts() int { return int(p.cuts.Load()) }

// CutAll cuts all connections.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		reset(c)
	}
	p.cuts.Add(int64(len(p.open) / 2))
}

// Close closes everything and waits until it is done. It may be called again.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	p.mu.Lock()
	p.closed = true
	for c := range p.open {
		reset(c)
	}
	p.mu.Unlock()
	p.conns.Wait()
	return err
}

func (p *Proxy) accept() {
	defer p.conns.Done()
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.conns.Add(1)
		go p.serve(c)
	}
}

// plan returns where a new connection goes, and after how many bytes in each
// direction it is cut.
func (p *Proxy) plan() (target string, up, down int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	budget := func() int64 {
		if p.calm || p.random.IntN(3) == 0 {
			return 1 << 62
		}
		return 200 + p.random.Int64N(p.budget)
	}
	return p.target, budget(), budget()
}

// track keeps the two ends of a connection for those who cut.
func (p *Proxy) track(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.open[c] = true
		if p.closed {
			reset(c)
		}
	}
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.open, c)
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer p.conns.Done()
	target, up, down := p.plan()
	if target == "" {
		reset(client)
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		reset(client)
		return
	}
	p.track(client, server)
	defer p.forget(client, server)
	var both sync.WaitGroup
	both.Go(func() { p.pass(server, client, up, nil) })
	both.Go(func() { p.pass(client, server, down, p.Witness.Listen()) })
	both.Wait()
}

// errOver ends a connection.
var errOver = errors.New("over")

// pass passes bytes until the budget is used up or an end is gone; then both
// are. What a server says is heard first.
func (p *Proxy) pass(to, from net.Conn, budget int64, listen func([]byte) []witness.Told) {
	defer reset(from)
	defer reset(to)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			err = errors.Join(err, p.forward(to, buffer[:n], &budget, listen))
		}
		if err != nil {
			return
		}
	}
}

// forward passes one piece on.
func (p *Proxy) forward(to io.Writer, piece []byte, budget *int64, listen func([]byte) []witness.Told) error {
	whole := len(piece)
	if int64(whole) > *budget {
		piece = piece[:*budget]
	}
	*budget -= int64(len(piece))
	var fired *Trigger
	if listen != nil {
		// Also of what is cut off, for the server has said it.
		fired = p.fired(listen(piece[:whole]))
	}
	if fired != nil && !fired.Arrives {
		fired.Fire()
		return errOver
	}
	_, err := to.Write(piece)
	if fired != nil {
		fired.Fire()
	}
	if len(piece) < whole {
		p.cuts.Add(1)
		return errOver
	}
	return err
}

// fired returns the trigger if this is its moment.
func (p *Proxy) fired(told []witness.Told) *Trigger {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.trigger
	for i := range told {
		if t == nil || !told[i].Event() || !slices.Contains(t.Types, told[i].Type) {
			continue
		}
		if t.Nth--; t.Nth <= 0 {
			p.trigger = nil
			return t
		}
	}
	return nil
}

// reset closes a connection without a goodbye.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
