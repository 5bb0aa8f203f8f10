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
	peer *endpoint // the other side
	// frames counts what came; the reader's alone.
	frames int
	// over is set when its reading has ended. The connection's lock guards it.
	over bool

	mu      sync.Mutex
	changed *sync.Cond // signals changes of the queue, and the end
	queue   []parcel
	bytes   int
	held    *parcel // waits to be overtaken
	closed  bool
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
	e := &endpoint{side: side, ws: ws}
	e.changed = sync.NewCond(&e.mu)
	return e
}

// enqueue queues a parcel for writing. It does not block; after close it does
// nothing.
func (e *endpoint) enqueue(p parcel) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.add(p)
}

// add is enqueue for a caller that holds the lock.
func (e *endpoint) add(p parcel) {
	if !e.closed {
		e.queue = append(e.queue, p)
		e.bytes += len(p.data)
		e.changed.Broadcast()
	}
}

// enqueueClose ends the connection after the queue, with a close code; 0: without a
// close frame.
func (e *endpoint) enqueueClose(code int) { e.enqueue(parcel{last: true, code: code}) }

// deliver queues a parcel, and after it the one that it has overtaken.
func (e *endpoint) deliver(p parcel) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.add(p)
	if e.held != nil {
		e.add(*e.held)
		e.held = nil
	}
}

// hold holds a parcel until another one has overtaken it, and reports whether it
// does: no other one may be held.
func (e *endpoint) hold(p *parcel) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.held != nil {
		return false
	}
	e.held = p
	return true
}

// release queues a parcel if it is still held.
func (e *endpoint) release(p *parcel) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.held == p {
		e.add(*p)
		e.held = nil
	}
}

// dropHeld drops the parcel that is held.
func (e *endpoint) dropHeld() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = nil
}

// dequeue waits for the next parcel; ok is false after close.
func (e *endpoint) dequeue() (p parcel, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.queue) == 0 && !e.closed {
		e.changed.Wait()
	}
	if e.closed {
		return p, false
	}
	p = e.queue[0]
	e.queue[0] = parcel{}
	e.queue = e.queue[1:]
	e.bytes -= len(p.data)
	e.changed.Broadcast()
	return p, true
}

// awaitCapacity waits until the queue has capacity, or the endpoint is closed.
func (e *endpoint) awaitCapacity() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.bytes > maxQueuedBytes && !e.closed {
		e.changed.Wait()
	}
}

// close drops the queue, and ends the writing.
func (e *endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed, e.queue, e.held = true, nil, nil
	e.changed.Broadcast()
}

// write writes the queue until the endpoint is closed.
func (e *endpoint) write() {
	for {
		p, ok := e.dequeue()
		switch {
		case !ok:
			return
		case p.last:
			e.sendClose(p.code)
			return
		}
		if err := e.writeMessage(&p); err != nil {
			e.disconnect()
			return
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
// Without a code it disconnects.
func (e *endpoint) sendClose(code int) {
	text := ""
	if code == wire.CloseGoingAway {
		text = "Going away" // as API Gateway does
	}
	deadline := time.Now().Add(closeWait)
	if code == 0 ||
		e.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), deadline) != nil ||
		e.ws.SetReadDeadline(deadline) != nil {
		e.disconnect()
	}
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
