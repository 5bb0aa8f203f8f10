package peer

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/gorilla/websocket"
)

// Message is what the bare echo decodes and encodes: a request of Streamer's
// with an order.
type Message struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	Action  string `json:"action"`
	Payload Order  `json:"payload"`
}

// openBare is the yardstick: gorilla/websocket as its documentation shows it,
// with default buffers, and encoding/json.
func openBare(_ context.Context, _ *settings, address string, _ *http.ServeMux) (*service, error) {
	upgrader := websocket.Upgrader{}
	return serveHTTP(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		for {
			kind, data, err := ws.ReadMessage()
			if err != nil {
				return
			}
			var m Message
			if err := json.Unmarshal(data, &m); err != nil {
				return
			}
			if data, err = json.Marshal(&m); err != nil {
				return
			}
			if err := ws.WriteMessage(kind, data); err != nil {
				return
			}
		}
	}))
}
