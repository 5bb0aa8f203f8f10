package client

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/client-go/internal/wire"
)

const (
	// maxFrame is the longest frame that is read: twice what the protocol
	// allows servers, for what a gateway may add.
	maxFrame = 2 * wire.MaxServerMessage
	// writeWait limits how long a write may take, closeWait how long the
	// server may take to answer a close frame.
	writeWait = 10 * time.Second
	closeWait = time.Second
	// maxReusedBuffer is how large a read buffer may be to be reused.
	maxReusedBuffer = 64 << 10
)

// socket is one connection: one goroutine reads, one writes.
type socket struct {
	client *Client
	gen    int
	ws     *websocket.Conn

	wake chan struct{}
	done chan struct{} // closed when reading has ended

	mu       sync.Mutex
	queue    [][]byte
	recycled [][]byte
	code     int // the close code, once it is to be closed
}

func newSocket(c *Client, gen int, ws *websocket.Conn) *socket {
	ws.SetReadLimit(maxFrame)
	return &socket{client: c, gen: gen, ws: ws, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// enqueue adds a message to write. It does not block.
func (s *socket) enqueue(body []byte) {
	s.mu.Lock()
	s.queue = append(s.queue, body)
	s.mu.Unlock()
	s.wakeWriter()
}

// closeWith closes the connection: at once if the server does not answer,
// otherwise when everything is written.
func (s *socket) closeWith(code int) {
	if code == wire.CloseGoingAway {
		s.client.wg.Go(func() { _ = s.ws.Close() }) // it can block, over TLS
		return
	}
	s.mu.Lock()
	s.code = code
	s.mu.Unlock()
	s.wakeWriter()
}

// closedByUs says whether the client has closed the connection.
func (s *socket) closedByUs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.code != 0
}

func (s *socket) wakeWriter() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// takeQueue returns all messages to write. The slice is reused: it is passed
// back with the next call.
func (s *socket) takeQueue(previous [][]byte) (queue [][]byte, code int) {
	clear(previous)
	s.mu.Lock()
	defer s.mu.Unlock()
	queue, s.queue = s.queue, s.recycled
	s.recycled = previous[:0]
	return queue, s.code
}

// writeLoop writes the queued messages: all that wait in one frame.
func (s *socket) writeLoop() {
	defer s.client.wg.Done()
	var queue [][]byte
	var frame []byte
	var code int
	for {
		select {
		case <-s.wake:
		case <-s.done:
			return
		}
		for {
			// Let goroutines that are about to send run first: their messages go
			// out in the same frame, which halves the cost of a call when there
			// are many.
			runtime.Gosched()
			if queue, code = s.takeQueue(queue); len(queue) == 0 {
				break
			}
			for rest := queue; len(rest) > 0; {
				var n int
				frame, n = packFrame(frame[:0], rest)
				if err := s.writeFrame(frame); err != nil {
					_ = s.ws.NetConn().Close() // readLoop reports it
					return
				}
				rest = rest[n:]
			}
		}
		if code != 0 {
			s.closeGracefully(code)
			return
		}
	}
}

func (s *socket) writeFrame(frame []byte) error {
	if err := s.ws.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return err
	}
	return s.ws.WriteMessage(websocket.TextMessage, frame)
}

// closeGracefully sends a close frame, and lets readLoop wait a little for the
// server's.
func (s *socket) closeGracefully(code int) {
	deadline := time.Now().Add(closeWait)
	err := s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), deadline)
	if err == nil {
		err = s.ws.SetReadDeadline(deadline)
	}
	if err != nil {
		_ = s.ws.NetConn().Close()
	}
}

// packFrame appends as many messages as fit into one frame: a single one as it
// is, several as a batch. It returns how many they are.
func packFrame(frame []byte, queue [][]byte) (_ []byte, n int) {
	size := len(queue[0]) + 2
	for n = 1; n < len(queue) && n < wire.MaxBatch; n++ {
		if size += len(queue[n]) + 1; size > wire.MaxClientMessage {
			break
		}
	}
	if n == 1 {
		return append(frame, queue[0]...), 1
	}
	frame = append(frame, '[')
	for i, m := range queue[:n] {
		if i > 0 {
			frame = append(frame, ',')
		}
		frame = append(frame, m...)
	}
	return append(frame, ']'), n
}

// readLoop handles what is received until the connection is lost.
func (s *socket) readLoop() {
	defer s.client.wg.Done()
	defer close(s.done)
	err := s.readFrames()
	_ = s.ws.Close()
	code := 0
	if ce, ok := errors.AsType[*websocket.CloseError](err); ok {
		code = ce.Code
	}
	if !s.closedByUs() {
		s.client.opts.Logger.Info("streamer: the connection was lost", "close", code, "error", err)
	}
	now := s.client.lockMachine()
	defer s.client.unlockMachine()
	delete(s.client.sockets, s.gen)
	s.client.machine.ConnLost(now, s.gen, code)
}

func (s *socket) readFrames() error {
	var buf bytes.Buffer
	var msgs []wire.ServerMessage
	for {
		kind, r, err := s.ws.NextReader()
		if err != nil {
			return err
		}
		if buf.Reset(); buf.Cap() > maxReusedBuffer {
			buf = bytes.Buffer{}
		}
		if _, err := buf.ReadFrom(r); err != nil {
			return err
		}
		clear(msgs[:cap(msgs)]) // a bad batch may have been longer
		var bad *wire.Error
		msgs, bad = wire.AppendServerFrame(msgs[:0], buf.Bytes())
		if kind != websocket.TextMessage || bad != nil {
			msgs = append(msgs[:0], wire.ServerMessage{}) // the machine handles it as a gateway's own error
		}
		now := s.client.lockMachine()
		s.client.machine.Received(now, s.gen, msgs)
		s.client.unlockMachine()
	}
}
