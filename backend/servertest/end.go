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
	// laneBytes is how much waits to be written to one side before the other
	// side is no longer read.
	laneBytes = 256 << 10
	// frameBytes is how long the frames are into which a message to a client
	// is cut, as API Gateway does.
	frameBytes = 32 << 10
	// writeWait bounds a write, closeWait the wait for a close frame's answer.
	writeWait = 10 * time.Second
	closeWait = time.Second
)

// end is one side of a connection through the gateway. One goroutine reads it,
// one writes what is pushed, and nobody else does.
type end struct {
	side Side
	ws   *websocket.Conn
	// frames counts what came; the reader's alone.
	frames int

	mu    sync.Mutex
	queue []parcel
	bytes int
	shut  bool
	wake  chan struct{} // holds one when there is something to write
	room  chan struct{} // closed when there is room; nil: nobody waits
	gone  chan struct{} // closed when shut
}

// parcel is what is to be written: a message, or the close.
type parcel struct {
	kind int
	data []byte
	// last ends the connection, with a close frame of that code; 0: without.
	last bool
	code int
}

func newEnd(side Side, ws *websocket.Conn) *end {
	return &end{side: side, ws: ws, wake: make(chan struct{}, 1), gone: make(chan struct{})}
}

// push has a parcel written. It does not block; after the end it does nothing.
func (e *end) push(p parcel) {
	e.mu.Lock()
	if !e.shut {
		e.queue = append(e.queue, p)
		e.bytes += len(p.data)
	}
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// last ends the connection behind what waits, with a close code; 0: without a
// word.
func (e *end) last(code int) { e.push(parcel{last: true, code: code}) }

// take returns the next parcel; ok is false when there is none.
func (e *end) take() (p parcel, ok bool) {
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
	if e.room != nil && e.bytes <= laneBytes {
		close(e.room)
		e.room = nil
	}
	return p, true
}

// await waits until there is room for more.
func (e *end) await() {
	e.mu.Lock()
	if e.shut || e.bytes <= laneBytes {
		e.mu.Unlock()
		return
	}
	if e.room == nil {
		e.room = make(chan struct{})
	}
	room := e.room
	e.mu.Unlock()
	<-room
}

// close drops what waits, and ends the writing.
func (e *end) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.shut {
		return
	}
	e.shut, e.queue, e.bytes = true, nil, 0
	if e.room != nil {
		close(e.room)
		e.room = nil
	}
	close(e.gone)
}

// write writes what is pushed until the end.
func (e *end) write() {
	for {
		select {
		case <-e.wake:
		case <-e.gone:
			return
		}
		for {
			p, ok := e.take()
			if !ok {
				break
			}
			if p.last {
				e.farewell(p.code)
				return
			}
			if err := e.put(&p); err != nil {
				e.cut()
				return
			}
		}
	}
}

func (e *end) put(p *parcel) error {
	if err := e.ws.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return err
	}
	w, err := e.ws.NextWriter(p.kind)
	if err != nil {
		return err
	}
	// Piece by piece, so that a long message leaves in frames of the buffer's
	// size: what is longer than that by far would leave as it is.
	for piece := range slices.Chunk(p.data, frameBytes) {
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return w.Close()
}

// farewell sends a close frame; the reader waits a little for its answer.
func (e *end) farewell(code int) {
	if code == 0 {
		e.cut()
		return
	}
	deadline := time.Now().Add(closeWait)
	err := e.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, closeText(code)), deadline)
	if err == nil {
		err = e.ws.SetReadDeadline(deadline)
	}
	if err != nil {
		e.cut()
	}
}

// closeText is what API Gateway writes beside the code.
func closeText(code int) string {
	if code == wire.CloseGoingAway {
		return "Going away"
	}
	return ""
}

// cut ends the network connection, without a word.
func (e *end) cut() {
	conn := e.ws.NetConn()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset: what is under way does not arrive
	}
	_ = conn.Close()
}

// leave closes the network connection when the reading has ended with err.
func (e *end) leave(err error) {
	e.close()
	if errors.Is(err, websocket.ErrReadLimit) {
		// The close frame, 1009, is under way. Closing with something unread
		// would be a reset, which can overtake it.
		conn := e.ws.NetConn()
		_ = conn.SetReadDeadline(time.Now().Add(closeWait))
		_, _ = io.Copy(io.Discard, conn)
	}
	_ = e.ws.Close()
}

// codeOf is the close code with which a connection has ended; 0: none.
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
