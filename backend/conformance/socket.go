package conformance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

const (
	// socketFrames is how many frames a Socket keeps until they are asked for.
	socketFrames = 4096
	// socketReadLimit is longer than the protocol allows, so that the player
	// can say what is wrong with a longer frame.
	socketReadLimit = 4 * wire.MaxServerMessage
	// socketWriteTime bounds how long a frame may take to be sent.
	socketWriteTime = time.Minute
)

// Socket is a Conn on a WebSocket connection, at either end of it. A goroutine
// reads frames until the connection ends; [Socket.Cut] ends it, and must be
// called in the end. Cut may be called by any goroutine, the other methods by one.
type Socket struct {
	ws      *websocket.Conn
	frames  chan []byte // closed when reading has ended
	why     *CloseError // why it has; set before frames is closed
	onFrame func(frame []byte)
	done    chan struct{} // closed by Cut
	cut     func()        // closes done, once
	stalled bool
	// flowing has room for one value, which the reader sends and takes back before
	// it passes a frame on. Stall fills it.
	flowing chan struct{}
}

// NewSocket takes a connection over. onFrame, if it is not nil, is called with
// each text frame after it was put where Recv finds it.
func NewSocket(ws *websocket.Conn, onFrame func(frame []byte)) *Socket {
	ws.SetReadLimit(socketReadLimit)
	if onFrame == nil {
		onFrame = func([]byte) {}
	}
	done := make(chan struct{})
	s := &Socket{
		ws: ws, frames: make(chan []byte, socketFrames), onFrame: onFrame, flowing: make(chan struct{}, 1),
		done: done, cut: sync.OnceFunc(func() { close(done) }),
	}
	go s.readLoop()
	return s
}

// readLoop reads until the connection ends.
func (s *Socket) readLoop() {
	defer close(s.frames)
	for {
		kind, data, err := s.ws.ReadMessage()
		if err != nil {
			s.why = &CloseError{Code: websocket.CloseAbnormalClosure, Reason: err.Error()}
			var closed *websocket.CloseError
			if errors.As(err, &closed) {
				s.why = &CloseError{Code: closed.Code, Reason: closed.Text}
			}
			_ = s.ws.Close()
			return
		}
		if kind == websocket.BinaryMessage {
			data = []byte(`{"type": "a binary frame"}`) // which nothing expects
		}
		select {
		case s.flowing <- struct{}{}:
			<-s.flowing
		case <-s.done:
		}
		select {
		case s.frames <- data:
			s.onFrame(data)
		case <-s.done:
			s.why = &CloseError{Code: websocket.CloseAbnormalClosure, Reason: "cut"}
			return
		}
	}
}

// Send sends one text frame. That the peer has closed is no error: its close
// frame says so.
func (s *Socket) Send(frame []byte) error { return s.write(websocket.TextMessage, frame) }

// SendBinary sends one binary frame.
func (s *Socket) SendBinary(frame []byte) error { return s.write(websocket.BinaryMessage, frame) }

func (s *Socket) write(kind int, frame []byte) error {
	_ = s.ws.SetWriteDeadline(time.Now().Add(socketWriteTime))
	_ = s.ws.WriteMessage(kind, frame)
	return nil
}

// Recv returns the next text frame; see [Conn].
func (s *Socket) Recv(ctx context.Context) ([]byte, error) {
	select {
	case data, ok := <-s.frames:
		if !ok {
			return nil, s.why
		}
		return data, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close sends a close frame. That the peer has closed before is no error.
func (s *Socket) Close(code int) error {
	err := s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(socketWriteTime))
	if errors.Is(err, websocket.ErrCloseSent) {
		return nil
	}
	return err
}

// Cut ends the connection without a close frame. It may be called again.
func (s *Socket) Cut() {
	s.cut()
	_ = s.ws.NetConn().Close()
}

// Stall stops reading: what the peer sends stays in the network.
func (s *Socket) Stall() {
	if !s.stalled {
		s.stalled = true
		s.flowing <- struct{}{}
	}
}

// Resume continues reading.
func (s *Socket) Resume() {
	if s.stalled {
		s.stalled = false
		<-s.flowing
	}
}
