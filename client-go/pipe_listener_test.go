package client

import (
	"context"
	"net"
)

// pipeListener is a network in memory, for tests with a fake clock.
type pipeListener struct {
	conns chan net.Conn
	open  context.Context
	close context.CancelFunc
}

func newPipeListener() *pipeListener {
	p := &pipeListener{conns: make(chan net.Conn)}
	p.open, p.close = context.WithCancel(context.Background())
	return p
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.open.Done():
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error {
	p.close()
	return nil
}

func (p *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipeListener) dialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	clientEnd, serverEnd := net.Pipe()
	select {
	case p.conns <- serverEnd:
		return clientEnd, nil
	case <-p.open.Done():
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
