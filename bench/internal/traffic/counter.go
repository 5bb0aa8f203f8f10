// Package traffic counts what goes over connections.
package traffic

import (
	"context"
	"net"
	"sync/atomic"
)

// Counter counts bytes of the connections that it dialled, both ways together.
// The zero value is useful. It is safe for concurrent use.
type Counter struct{ n atomic.Int64 }

// Bytes returns the count.
func (c *Counter) Bytes() int64 { return c.n.Load() }

// DialContext opens a connection whose bytes are counted.
func (c *Counter) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &counted{conn, c}, nil
}

// Dial is DialContext without a context.
func (c *Counter) Dial(network, address string) (net.Conn, error) {
	return c.DialContext(context.Background(), network, address)
}

type counted struct {
	net.Conn
	counter *Counter
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.counter.n.Add(int64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.counter.n.Add(int64(n))
	return n, err
}
