package server

import (
	"context"
	"errors"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

var _ deliver.Sender = (*connection)(nil)

// Send implements deliver.Sender.
func (c *connection) Send(_ context.Context, _ deliver.Address, frame []byte) error {
	_ = c.ws.SetWriteDeadline(time.Now().Add(c.options.WriteTimeout))
	if err := c.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
		c.closeNow()
		return deliver.ErrGone
	}
	return nil
}

// Close implements deliver.Sender: it sends the close frame, and gives the client
// a moment to answer it.
func (c *connection) Close(_ context.Context, _ deliver.Address, code int) {
	message := websocket.FormatCloseMessage(code, "")
	_ = c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(closeTimeout))
	_ = c.ws.SetReadDeadline(time.Now().Add(closeTimeout))
}

// send sends a direct answer.
func (c *connection) send(m *wire.ServerMessage) {
	if c.queue(m) {
		c.out.Start()
	}
}

// queue adds a direct answer to the outbox, and reports whether the caller must
// have it drained. Answers are never dropped: if too many wait, the connection
// ends.
func (c *connection) queue(m *wire.ServerMessage) (start bool) {
	data := m.Append(make([]byte, 0, 128+len(m.Payload)+len(m.Data)))
	start, err := c.out.Reply(data)
	if errors.Is(err, deliver.ErrFull) {
		c.closeSlowReader()
	}
	return start
}

// closing is the message that announces the end of the connection.
func (c *connection) closing(reason string, reconnect bool) *wire.ServerMessage {
	return &wire.ServerMessage{
		Type: wire.TypeClosing, Reason: reason, Reconnect: &reconnect, AfterMs: c.options.ReconnectWithin.Milliseconds(),
	}
}

// isClosing reports whether the connection is being closed.
func (c *connection) isClosing() bool { return c.closeCode.Load() != 0 || c.closed.Load() }

// closeSlowReader ends a connection whose client takes too little: what waits is
// dropped.
func (c *connection) closeSlowReader() {
	if c.closeCode.Swap(wire.CloseTryLater) != 0 {
		return
	}
	c.log.Warn("a connection is closed because its client does not read its answers")
	_ = c.ws.SetReadDeadline(time.Now().Add(closeTimeout)) // it may not read the close either
	c.out.CloseWith(c.closing("overloaded", true).Append(nil), wire.CloseTryLater)
}

// closeWithReason announces the reason, if there is one, and closes the
// connection when all that waits was sent.
func (c *connection) closeWithReason(reason string, reconnect bool, code int) {
	if c.closeCode.Swap(int32(code)) != 0 {
		return
	}
	if reason != "" {
		c.send(c.closing(reason, reconnect))
	}
	c.out.CloseAfter(code)
}

// closeNow ends the connection without a message.
func (c *connection) closeNow() {
	if c.closed.Swap(true) {
		return
	}
	c.timerMu.Lock()
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timerMu.Unlock()
	c.out.Close()
	_ = c.ws.Close()
}
