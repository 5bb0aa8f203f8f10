package recorder

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// Wait bounds how long a healthy server may take. It only catches hangs.
const Wait = 2 * time.Minute

// StoredCall is a call as the server has stored it.
type StoredCall struct {
	ID     string `json:"id"`
	Action string `json:"action"`
	// EndedAt is in milliseconds by the server's clock; 0: it has not ended.
	EndedAt int64 `json:"endedAt"`
	// Gone reports that it was listed, and had expired when it was read.
	Gone   bool    `json:"gone,omitempty"`
	Events []Event `json:"events"`
}

// Stored reads all calls of the run's subject with all their events, without the
// client library.
func Stored(address string) (out []StoredCall, err error) {
	d := websocket.Dialer{Subprotocols: []string{"streamer.v1"}, HandshakeTimeout: Wait}
	ws, response, err := d.Dial("ws://"+address, http.Header{"Authorization": {"Bearer " + serverproc.Token}})
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close()
	defer func() { _ = ws.Close() }()
	list := map[string]any{"type": "list", "ref": "list", "limit": 100}
	for more := true; more; {
		m, err := roundTrip(ws, list)
		if err != nil {
			return nil, fmt.Errorf("listing what is stored: %w", err)
		}
		if m.Type != "calls" {
			return nil, fmt.Errorf("a list was answered with %s %s", m.Type, m.Code)
		}
		out = append(out, m.Calls...)
		list["cursor"], more = m.Cursor, m.Cursor != ""
	}
	for i := range out {
		if err := out[i].readEvents(ws); err != nil {
			return nil, fmt.Errorf("reading call %s: %w", out[i].ID, err)
		}
	}
	return out, nil
}

func (s *StoredCall) readEvents(ws *websocket.Conn) error {
	for after, more := uint64(0), true; more; {
		m, err := roundTrip(ws, map[string]any{"type": "subscribe", "ref": s.ID, "id": s.ID, "after": after})
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

// roundTrip sends a message and returns the answer, which has the same ref.
func roundTrip(ws *websocket.Conn, request map[string]any) (*message, error) {
	if err := ws.SetReadDeadline(time.Now().Add(Wait)); err != nil {
		return nil, err
	}
	if err := ws.WriteJSON(request); err != nil {
		return nil, err
	}
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			return nil, err
		}
		messages, err := decode(frame)
		if err != nil {
			return nil, fmt.Errorf("the server sent what is no message: %w", err)
		}
		for i := range messages { // only one of them can be the answer
			if messages[i].Ref == request["ref"] {
				return &messages[i], nil
			}
		}
	}
}
