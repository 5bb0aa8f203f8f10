// Package load makes load on servers and measures how they answer.
//
// Frames of WebSockets it writes and reads itself, as cheaply as it can: what
// is to be measured is the server, and both run on the same cores. All servers
// get the same load: what a client has to send at one moment leaves in one
// write.
package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sync/errgroup"
)

// Target is the server to be loaded.
type Target struct {
	// URL begins with ws://.
	URL string
	// Token is for Streamer. Empty: it is another server.
	Token string
}

// Conn is a client's connection. One goroutine may read while others write.
type Conn struct {
	tcp    net.Conn
	in     *bufio.Reader // made by the first read: idle connections are many
	frame  []byte
	number uint32 // its own part of ids
	count  atomic.Uint32
	mu     sync.Mutex
	out    bytes.Buffer // what is queued
}

var connections atomic.Uint32

// Dial opens a connection.
func Dial(ctx context.Context, t Target) (*Conn, error) {
	dialer := ws.Dialer{Timeout: time.Minute, ReadBufferSize: 512, WriteBufferSize: 512}
	if t.Token != "" {
		dialer.Protocols = []string{"streamer.v1"}
		dialer.Header = ws.HandshakeHeaderHTTP{"Authorization": {"Bearer " + t.Token}}
	}
	// No server here speaks first, so nothing waits in the reader.
	tcp, _, _, err := dialer.Dial(ctx, t.URL)
	if err != nil {
		return nil, fmt.Errorf("dialling: %w", err)
	}
	return &Conn{tcp: tcp, number: connections.Add(1)}, nil
}

// DialAll opens n connections, 32 at a time. After an error none is open.
func DialAll(ctx context.Context, t Target, n int) ([]*Conn, error) {
	conns := make([]*Conn, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i := range conns {
		group.Go(func() (err error) {
			conns[i], err = Dial(ctx, t)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		CloseAll(conns)
		return nil, err
	}
	return conns, nil
}

// CloseAll closes connections. Nil ones are passed over.
func CloseAll(conns []*Conn) {
	for _, c := range conns {
		if c != nil {
			c.Close()
		}
	}
}

// Close cuts the connection off.
func (c *Conn) Close() { _ = c.tcp.Close() }

// ForEach runs a function with every connection, each in a goroutine of its own,
// and returns the first error. When one fails or ctx ends, the connections are
// closed.
func ForEach(ctx context.Context, conns []*Conn, run func(i int, c *Conn) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { CloseAll(conns) })
	defer stop()
	var running sync.WaitGroup
	for i, c := range conns {
		running.Go(func() {
			if err := run(i, c); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// write queues a frame and returns where its n bytes go. The mask is zero, which
// spares this side the work; the server's is the same for any mask.
func (c *Conn) write(n int) *bytes.Buffer {
	_ = ws.WriteHeader(&c.out, ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: int64(n)}) // a buffer takes everything
	return &c.out
}

// queue queues a request whose answers will name the slot.
func (c *Conn) queue(t *Template, slot int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.write(t.Size())
	out.Write(t.append(out.AvailableBuffer(), c.number, uint16(slot), c.count.Add(1)))
}

func (c *Conn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.out.WriteTo(c.tcp)
	return err
}

// Exchange sends a message and hands every frame that comes to take, until take
// returns true. A frame is valid until take returns.
func (c *Conn) Exchange(text []byte, take func(frame []byte) (bool, error)) error {
	if err := c.Send(text); err != nil {
		return err
	}
	for {
		frame, err := c.readFrame()
		if err != nil {
			return err
		}
		if done, err := take(frame); done || err != nil {
			return err
		}
	}
}

// Send sends a message.
func (c *Conn) Send(text []byte) error {
	c.mu.Lock()
	c.write(len(text)).Write(text)
	c.mu.Unlock()
	return c.flush()
}

// waiting reports whether another frame, or its beginning, has come already.
func (c *Conn) waiting() bool { return c.in != nil && c.in.Buffered() > 0 }

// readFrame returns the next frame, which is valid until the next call.
func (c *Conn) readFrame() ([]byte, error) {
	if c.in == nil {
		c.in = bufio.NewReaderSize(c.tcp, 16<<10)
	}
	header, err := ws.ReadHeader(c.in)
	switch {
	case err != nil:
		return nil, err
	case header.OpCode == ws.OpClose:
		return nil, errors.New("the server closed the connection")
	case header.OpCode != ws.OpText || !header.Fin || header.Masked || header.Length > 1<<20:
		return nil, fmt.Errorf("the server sent an unexpected frame: %+v", header)
	}
	c.frame = slices.Grow(c.frame[:0], int(header.Length))[:header.Length]
	_, err = io.ReadFull(c.in, c.frame)
	return c.frame, err
}
