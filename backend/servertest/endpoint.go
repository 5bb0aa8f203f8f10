package servertest

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

const (
	// maxQueuedBytes is how much may be queued for one side before the gateway
	// stops reading from the other.
	maxQueuedBytes = 256 << 10
	// frameBytes is the length of the frames into which a message to a client is
	// split, as API Gateway does.
	frameBytes = 32 << 10
	// writeWait bounds a write, closeWait the wait for the answer to a close frame.
	writeWait = 10 * time.Second
	closeWait = time.Second
)

// endpoint is one side of a connection through the gateway. Exactly one goroutine
// reads from it, and exactly one writes the queue to it.
type endpoint struct {
	side Side
	ws   *websocket.Conn
	// frames counts what came; the reader's alone.
	frames int

	mu      sync.Mutex
	queue   []parcel
	bytes   int
	closed  bool
	wake    chan struct{} // holds one when there is something to write
	drained chan struct{} // closed when the queue has capacity; nil: no goroutine waits
	gone    chan struct{} // closed when closed is set
}

// parcel is a message to write, or the close of the connection.
type parcel struct {
	kind int
	data []byte
	// last ends the connection, with a close frame of that code; 0: without.
	last bool
	code int
}

func newEndpoint(side Side, ws *websocket.Conn) *endpoint {
	return &endpoint{side: side, ws: ws, wake: make(chan struct{}, 1), gone: make(chan struct{})}
}

// enqueue queues a parcel for writing. It does not block; after close it does
// nothing.
func (e *endpoint) enqueue(p parcel) {
	e.mu.Lock()
	if !e.closed {
		e.queue = append(e.queue, p)
		e.bytes += len(p.data)
	}
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// enqueueClose ends the connection after the queue, with a close code; 0: without a
// close frame.
func (e *endpoint) enqueueClose(code int) { e.enqueue(parcel{last: true, code: code}) }

// dequeue returns the next parcel; ok is false when there is none.
func (e *endpoint) dequeue() (p parcel, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == 0 {
		e.queue = nil
		return p, false
	}
	p = e.queue[0]
	e.queue[0] = parcel{}
	e.queue = e.queue[1:]
	e.bytes -= len(p.data)
	if e.drained != nil && e.bytes <= maxQueuedBytes {
		close(e.drained)
		e.drained = nil
	}
	return p, true
}

// awaitCapacity waits until the queue has capacity.
func (e *endpoint) awaitCapacity() {
	e.mu.Lock()
	if e.closed || e.bytes <= maxQueuedBytes {
		e.mu.Unlock()
		return
	}
	if e.drained == nil {
		e.drained = make(chan struct{})
	}
	drained := e.drained
	e.mu.Unlock()
	<-drained
}

// close drops the queue, and ends the writing.
func (e *endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.closed, e.queue, e.bytes = true, nil, 0
	if e.drained != nil {
		close(e.drained)
		e.drained = nil
	}
	close(e.gone)
}

// write writes the queue until the endpoint is closed.
func (e *endpoint) write() {
	for {
		select {
		case <-e.wake:
		case <-e.gone:
			return
		}
		for {
			p, ok := e.dequeue()
			if !ok {
				break
			}
			if p.last {
				e.sendClose(p.code)
				return
			}
			if err := e.writeMessage(&p); err != nil {
				e.disconnect()
				return
			}
		}
	}
}

func (e *endpoint) writeMessage(p *parcel) error {
	if err := e.ws.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return err
	}
	w, err := e.ws.NextWriter(p.kind)
	if err != nil {
		return err
	}
	// In pieces, so that a long message is sent in frames of the buffer's size: a
	// single long Write would be sent as one frame.
	for piece := range slices.Chunk(p.data, frameBytes) {
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return w.Close()
}

// sendClose sends a close frame; the reader waits up to closeWait for its answer.
func (e *endpoint) sendClose(code int) {
	if code == 0 {
		e.disconnect()
		return
	}
	deadline := time.Now().Add(closeWait)
	err := e.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, closeText(code)), deadline)
	if err == nil {
		err = e.ws.SetReadDeadline(deadline)
	}
	if err != nil {
		e.disconnect()
	}
}

// closeText returns the reason that API Gateway sends with the code.
func closeText(code int) string {
	if code == wire.CloseGoingAway {
		return "Going away"
	}
	return ""
}

// disconnect ends the network connection without a close frame.
func (e *endpoint) disconnect() {
	conn := e.ws.NetConn()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset: data in flight does not arrive
	}
	_ = conn.Close()
}

// closeAfterRead closes the network connection after a read has failed with err.
func (e *endpoint) closeAfterRead(err error) {
	e.close()
	if errors.Is(err, websocket.ErrReadLimit) {
		// The close frame, 1009, is in flight. Closing with unread data would be a
		// reset, which can overtake it.
		conn := e.ws.NetConn()
		_ = conn.SetReadDeadline(time.Now().Add(closeWait))
		_, _ = io.Copy(io.Discard, conn)
	}
	_ = e.ws.Close()
}

// codeOf returns the close code with which a connection has ended; 0: none.
func codeOf(err error) int {
	var closed *websocket.CloseError
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		return wire.CloseTooBig
	case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure:
		return closed.Code
	}
	return 0
}
