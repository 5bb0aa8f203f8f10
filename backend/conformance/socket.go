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
	// socketFrame is the longest frame that a Socket reads, in bytes: longer
	// than the law allows, so that the ledger can say what is wrong with it.
	socketFrame = 4 * wire.MaxServerMessage
	// socketWrite bounds how long a frame may take to leave.
	socketWrite = time.Minute
)

// Socket is a Conn on a WebSocket connection, at either end of it. A goroutine
// reads frames until the connection ends; [Socket.Cut] ends it, and must be
// called some day. It has the roles BinarySender and Staller, and is safe for
// concurrent use.
type Socket struct {
	ws     *websocket.Conn
	frames chan []byte // closed when reading has ended
	why    *CloseError // why it has; set before frames is closed
	heard  func(frame []byte)
	done   chan struct{} // closed by Cut
	once   sync.Once

	writing sync.Mutex

	mu sync.Mutex
	// flows is closed while frames are read; while reading is stalled it is
	// open.
	flows chan struct{}
}

// NewSocket takes a connection over. heard, if it is not nil, is called with
// each text frame after it was put where Recv finds it.
func NewSocket(ws *websocket.Conn, heard func(frame []byte)) *Socket {
	ws.SetReadLimit(socketFrame)
	s := &Socket{ws: ws, frames: make(chan []byte, socketFrames), heard: heard, done: make(chan struct{}), flows: make(chan struct{})}
	close(s.flows)
	go s.pump()
	return s
}

// pump reads until the connection ends.
func (s *Socket) pump() {
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
		s.mu.Lock()
		flows := s.flows
		s.mu.Unlock()
		select {
		case <-flows:
		case <-s.done:
		}
		select {
		case s.frames <- data:
		case <-s.done:
			s.why = &CloseError{Code: websocket.CloseAbnormalClosure, Reason: "cut"}
			return
		}
		if s.heard != nil {
			s.heard(data)
		}
	}
}

// Send sends one text frame. It does not mind that the peer has closed: what
// the peer says about that is in its close frame.
func (s *Socket) Send(frame []byte) error { return s.write(websocket.TextMessage, frame) }

// SendBinary sends one binary frame.
func (s *Socket) SendBinary(frame []byte) error { return s.write(websocket.BinaryMessage, frame) }

func (s *Socket) write(kind int, frame []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.ws.SetWriteDeadline(time.Now().Add(socketWrite))
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

// Close says goodbye with a close code. That the peer was faster is no error.
func (s *Socket) Close(code int) error {
	err := s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(socketWrite))
	if errors.Is(err, websocket.ErrCloseSent) {
		return nil
	}
	return err
}

// Cut ends the connection without a goodbye. It may be called again.
func (s *Socket) Cut() {
	s.once.Do(func() { close(s.done) })
	_ = s.ws.NetConn().Close()
}

// Stall stops reading: what the peer sends stays in the network, and with it,
// soon, the peer.
func (s *Socket) Stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.flows:
		s.flows = make(chan struct{})
	default: // it is stalled already
	}
}

// Resume reads on.
func (s *Socket) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.flows:
	default:
		close(s.flows)
	}
}
