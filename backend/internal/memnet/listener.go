// Package memnet is a network in memory for tests. Unlike sockets, its
// connections let the clock of a testing/synctest bubble advance.
package memnet

import (
	"context"
	"net"
	"sync"
)

// Listener is a net.Listener that clients dial with its DialContext. It is safe for
// concurrent use.
type Listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewListener returns a listener. Inside a bubble, make it there.
func NewListener() *Listener {
	return &Listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// DialContext connects to the listener, whatever the address. It has the form
// of net.Dialer's. A listener that is closed returns net.ErrClosed.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close refuses connections from now on. It may be called again.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns an address that cannot be dialed.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "streamer.test", Net: "pipe"} }
