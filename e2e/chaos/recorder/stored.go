package recorder

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// Wait bounds how long the answer of a healthy server may take. It only catches
// hangs.
const Wait = 2 * time.Minute

// Call is a call as the server has stored it.
type Call struct {
	ID     string `json:"id"`
	Action string `json:"action"`
	// EndedAt is in milliseconds by the server's clock; 0: it has not ended.
	EndedAt int64 `json:"endedAt"`
	// Gone tells that it was listed, and had expired when it was read.
	Gone   bool    `json:"gone,omitempty"`
	Events []Event `json:"events"`
}

// Conn is a connection to a server without proxy and client library.
type Conn struct {
	ws       *websocket.Conn
	received []message // of a batch
}

// Dial connects to a server.
func Dial(address string) (*Conn, error) {
	token, err := serverproc.Token()
	if err != nil {
		return nil, err
	}
	d := websocket.Dialer{Subprotocols: []string{"streamer.v1"}, HandshakeTimeout: Wait}
	ws, response, err := d.Dial("ws://"+address, http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close()
	return &Conn{ws: ws}, nil
}

// Close closes the connection.
func (c *Conn) Close() { _ = c.ws.Close() }

// Request sends a request message with that id, and returns the first event of
// the call.
func (c *Conn) Request(request map[string]any, id string, wait time.Duration) (*Event, error) {
	m, err := c.ask(request, func(m *message) bool { return m.ID == id }, wait)
	if err != nil {
		return nil, err
	}
	return &m.Event, nil
}

// ask sends a message and returns the first answer that fits.
func (c *Conn) ask(request any, fits func(*message) bool, wait time.Duration) (*message, error) {
	if err := c.ws.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	if err := c.ws.WriteJSON(request); err != nil {
		return nil, err
	}
	if err := c.ws.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	for {
		for len(c.received) > 0 {
			m := c.received[0]
			c.received = c.received[1:]
			if fits(&m) {
				return &m, nil
			}
		}
		_, frame, err := c.ws.ReadMessage()
		if err != nil {
			return nil, err
		}
		if c.received, err = decode(frame); err != nil {
			return nil, fmt.Errorf("the server sent what is no message: %w", err)
		}
	}
}

// Stored reads all calls of the run's subject with all their events.
func (c *Conn) Stored() (out []Call, err error) {
	request := map[string]any{"type": "list", "ref": "list", "limit": 100}
	for more := true; more; {
		m, err := c.ask(request, func(m *message) bool { return m.Ref == "list" }, Wait)
		if err != nil {
			return nil, fmt.Errorf("listing what is stored: %w", err)
		}
		if m.Type != "calls" {
			return nil, fmt.Errorf("a list was answered with %s %s", m.Type, m.Code)
		}
		for _, s := range m.Calls {
			out = append(out, Call{ID: s.ID, Action: s.Action, EndedAt: s.EndedAt})
		}
		request["cursor"], more = m.Cursor, m.Cursor != ""
	}
	for i := range out {
		if err := c.readEvents(&out[i]); err != nil {
			return nil, fmt.Errorf("reading call %s: %w", out[i].ID, err)
		}
	}
	return out, nil
}

func (c *Conn) readEvents(s *Call) error {
	for after, more := uint64(0), true; more; {
		m, err := c.ask(map[string]any{"type": "subscribe", "ref": s.ID, "id": s.ID, "after": after}, func(m *message) bool { return m.Ref == s.ID }, Wait)
		switch {
		case err != nil:
			return err
		case m.Type == "error" && m.Code == "not_found":
			s.Gone, s.Events = true, nil
			return nil
		case m.Type != "snapshot":
			return fmt.Errorf("a subscribe was answered with %s %s", m.Type, m.Code)
		}
		s.Events = append(s.Events, m.Events...)
		if more = m.More; len(m.Events) > 0 {
			after = m.Events[len(m.Events)-1].Seq
		} else if more {
			return fmt.Errorf("an empty page after seq %d, and more", after)
		}
	}
	return nil
}
