package e2e

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy passes bytes between clients and the server, and cuts connections
// after a random number of them.
type proxy struct {
	listener net.Listener
	to       string
	// calm stops the cutting.
	calm  atomic.Bool
	cuts  atomic.Int64
	conns sync.WaitGroup

	mu     sync.Mutex
	random *rand.Rand
	open   map[net.Conn]bool
}

func startProxy(t *testing.T, to string, seed uint64) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, to: to, random: rand.New(rand.NewPCG(seed, 2)), open: map[net.Conn]bool{}}
	p.conns.Add(1)
	go p.accept()
	t.Cleanup(p.close)
	return p
}

func (p *proxy) url() string { return "ws://" + p.listener.Addr().String() }

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.conns.Wait()
}

func (p *proxy) accept() {
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

// budget is after how many bytes in one direction a connection is cut.
func (p *proxy) budget() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.random.IntN(3) == 0 {
		return 1 << 40
	}
	return 200 + p.random.Int64N(40_000)
}

func (p *proxy) track(c net.Conn, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open {
		p.open[c] = true
	} else {
		delete(p.open, c)
	}
}

func (p *proxy) serve(client net.Conn) {
	defer p.conns.Done()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		_ = client.Close()
		return
	}
	for _, c := range []net.Conn{client, server} {
		p.track(c, true)
		defer p.track(c, false)
	}
	var both sync.WaitGroup
	both.Add(2)
	pass := func(from, to net.Conn) {
		defer both.Done()
		n := p.budget()
		passed, _ := io.CopyN(to, from, n)
		for passed == n && p.calm.Load() {
			passed, _ = io.CopyN(to, from, n)
		}
		if passed == n {
			p.cuts.Add(1)
		}
		for _, c := range []net.Conn{from, to} {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // a reset, not a goodbye
			}
			_ = c.Close()
		}
	}
	go pass(client, server)
	go pass(server, client)
	both.Wait()
}
