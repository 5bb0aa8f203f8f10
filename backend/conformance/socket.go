package conformance

import (
	"context"
	"errors"
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

// socket is a Conn on a WebSocket connection, at either end of it. A goroutine
// reads frames until the connection ends; Cut ends it, and must be called in the
// end. Cut may be called by any goroutine, the other methods by one.
type socket struct {
	ws      *websocket.Conn
	frames  chan []byte // closed when reading has ended
	why     *CloseError // why it has; set before frames is closed
	onFrame func(frame []byte)
	done    context.Context // ended by Cut
	end     context.CancelFunc
	stalled bool
	// flowing has room for one value, which the reader sends and takes back before
	// it passes a frame on. Stall fills it.
	flowing chan struct{}
}

// newSocket takes a connection over. onFrame, if it is not nil, is called with
// each text frame after it was put where Recv finds it.
func newSocket(ws *websocket.Conn, onFrame func(frame []byte)) *socket {
	ws.SetReadLimit(socketReadLimit)
	if onFrame == nil {
		onFrame = func([]byte) {}
	}
	s := &socket{ws: ws, frames: make(chan []byte, socketFrames), onFrame: onFrame, flowing: make(chan struct{}, 1)}
	s.done, s.end = context.WithCancel(context.Background())
	go s.readLoop()
	return s
}

// readLoop reads until the connection ends.
func (s *socket) readLoop() {
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
		case <-s.done.Done():
		}
		select {
		case s.frames <- data:
			s.onFrame(data)
		case <-s.done.Done():
			s.why = &CloseError{Code: websocket.CloseAbnormalClosure, Reason: "cut"}
			return
		}
	}
}

func (s *socket) Send(frame []byte) error       { return s.write(websocket.TextMessage, frame) }
func (s *socket) SendBinary(frame []byte) error { return s.write(websocket.BinaryMessage, frame) }

// write sends a frame. That the peer has closed is no error: its close frame says
// so.
func (s *socket) write(kind int, frame []byte) error {
	_ = s.ws.SetWriteDeadline(time.Now().Add(socketWriteTime))
	_ = s.ws.WriteMessage(kind, frame)
	return nil
}

func (s *socket) Recv(ctx context.Context) ([]byte, error) {
	frame, err := receive(ctx, s.frames)
	if err == nil && frame == nil { // no frame is nil: the channel is closed
		return nil, s.why
	}
	return frame, err
}

// Close sends a close frame. That the peer has closed before is no error.
func (s *socket) Close(code int) error {
	err := s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(socketWriteTime))
	if errors.Is(err, websocket.ErrCloseSent) {
		return nil
	}
	return err
}

func (s *socket) Cut() {
	s.end()
	_ = s.ws.NetConn().Close()
}

func (s *socket) Stall() {
	if !s.stalled {
		s.stalled = true
		s.flowing <- struct{}{}
	}
}

func (s *socket) Resume() {
	if s.stalled {
		s.stalled = false
		<-s.flowing
	}
}
