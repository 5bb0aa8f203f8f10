// Package load makes load on a WebSocket server and measures how it answers.
//
// It writes and reads frames itself, as cheaply as it can: what is to be
// measured is the server, and both run on the same cores. All servers get the
// same load: what a client has to say at one moment leaves in one write.
package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Target is the server to be loaded.
type Target struct {
	// URL begins with ws://.
	URL         string
	Subprotocol string
	// Token is sent as a bearer's; empty: none.
	Token string
}

// Conn is a client's connection. It is not safe for concurrent use, but one
// goroutine may read while another writes.
type Conn struct {
	tcp    net.Conn
	in     *bufio.Reader // made with the first reading: idle connections are many
	frame  []byte
	out    []byte
	number uint32 // its own part of ids
	count  uint32
	// sent and received count bytes of frames.
	sent, received atomic.Int64
}

var connections atomic.Uint32

// Dial opens a connection.
func Dial(ctx context.Context, t Target) (*Conn, error) {
	dialer := websocket.Dialer{
		HandshakeTimeout: 20 * time.Second, ReadBufferSize: 512, WriteBufferSize: 512, WriteBufferPool: &writeBuffers,
	}
	if t.Subprotocol != "" {
		dialer.Subprotocols = []string{t.Subprotocol}
	}
	header := http.Header{}
	if t.Token != "" {
		header.Set("Authorization", "Bearer "+t.Token)
	}
	ws, response, err := dialer.DialContext(ctx, t.URL, header)
	if response != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("dialling: %w", err)
	}
	// No server here speaks first, so nothing waits in the buffers of ws.
	return &Conn{tcp: ws.NetConn(), number: connections.Add(1)}, nil
}

var writeBuffers sync.Pool

// DialAll opens n connections, some at a time. After an error none is open.
func DialAll(ctx context.Context, t Target, n int) ([]*Conn, error) {
	const atOnce = 32
	conns := make([]*Conn, n)
	errs := make([]error, atOnce)
	var next atomic.Int64
	var dialers sync.WaitGroup
	for d := range atOnce {
		dialers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && errs[d] == nil; i = next.Add(1) - 1 {
				conns[i], errs[d] = Dial(ctx, t)
			}
		})
	}
	dialers.Wait()
	if err := errors.Join(errs...); err != nil {
		CloseAll(conns)
		return nil, err
	}
	return conns, nil
}

// CloseAll closes connections; nil ones are passed over.
func CloseAll(conns []*Conn) {
	for _, c := range conns {
		if c != nil {
			_ = c.tcp.Close()
		}
	}
}

// Frames as RFC 6455, section 5.2, has them.
const (
	finalText = 0x81
	finalByte = 0x80
	opcode    = 0x0f
	textFrame = 0x1
	closing   = 0x8
	masked    = 0x80
	length    = 0x7f
	length16  = 126
	length64  = 127
)

// header appends the header of a masked frame for n bytes. The mask is zero,
// which spares this side the work; the server's is the same for any mask.
func header(b []byte, n int) []byte {
	b = append(b, finalText)
	if n < length16 {
		b = append(b, masked|byte(n))
	} else {
		b = append(b, masked|length16, byte(n>>8), byte(n))
	}
	return append(b, 0, 0, 0, 0)
}

// request queues a request whose answers will name the slot.
func (c *Conn) request(t *Template, slot uint16) {
	c.count++
	c.out = header(c.out, t.Size())
	c.out = t.append(c.out, c.number, slot, c.count)
}

// flush writes what is queued.
func (c *Conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	n, err := c.tcp.Write(c.out)
	c.sent.Add(int64(n))
	c.out = c.out[:0]
	return err
}

// Bytes tells how many bytes of frames went over connections, both ways
// together. Handshakes do not count.
func Bytes(conns []*Conn) (n int64) {
	for _, c := range conns {
		n += c.sent.Load() + c.received.Load()
	}
	return n
}

// Send writes a message.
func (c *Conn) Send(text []byte) error {
	c.out = append(header(c.out, len(text)), text...)
	return c.flush()
}

// Receive returns the next frame, which is valid until the next one is asked
// for.
func (c *Conn) Receive() ([]byte, error) { return c.read() }

// Close cuts the connection.
func (c *Conn) Close() { _ = c.tcp.Close() }

// more tells whether another frame, or its beginning, has come already.
func (c *Conn) more() bool { return c.in.Buffered() > 0 }

var errClosing = errors.New("the server closed the connection")

// read returns the next frame, which is valid until the next read.
func (c *Conn) read() ([]byte, error) {
	if c.in == nil {
		c.in = bufio.NewReaderSize(c.tcp, 16<<10)
	}
	var head [10]byte
	if _, err := io.ReadFull(c.in, head[:2]); err != nil {
		return nil, err
	}
	switch {
	case head[0]&opcode == closing:
		return nil, errClosing
	case head[0]&opcode != textFrame, head[0]&finalByte == 0, head[1]&masked != 0:
		return nil, fmt.Errorf("the server sent a frame that begins with %#x, which is not expected", head[:2])
	}
	n := int(head[1] & length)
	switch n {
	case length16:
		if _, err := io.ReadFull(c.in, head[:2]); err != nil {
			return nil, err
		}
		n = int(binary.BigEndian.Uint16(head[:2]))
	case length64:
		if _, err := io.ReadFull(c.in, head[:8]); err != nil {
			return nil, err
		}
		n = int(min(binary.BigEndian.Uint64(head[:8]), maxFrame+1))
	}
	if n > maxFrame {
		return nil, errors.New("the server sent a frame of more than 1 MiB")
	}
	if cap(c.frame) < n {
		c.frame = make([]byte, n, max(n, 1024))
	}
	c.frame = c.frame[:n]
	_, err := io.ReadFull(c.in, c.frame)
	c.received.Add(int64(n + headerSize(n)))
	return c.frame, err
}

// headerSize is the size of the header of an unmasked frame of n bytes.
func headerSize(n int) int {
	switch {
	case n < length16:
		return 2
	case n < 1<<16:
		return 4
	}
	return 10
}

const maxFrame = 1 << 20
