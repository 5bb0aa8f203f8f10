package client

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

// newEchoClient returns a client of a server that answers each request inline
// at once.
func newEchoClient(b *testing.B) *Client {
	up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		var out []byte
		var answers []wire.ServerMessage
		for {
			_, data, err := ws.ReadMessage()
			if err != nil {
				return
			}
			items, _, _ := wire.DecodeClientFrame(data)
			answers = answers[:0]
			for i := range items {
				m := &items[i].Message
				answers = append(answers, wire.ServerMessage{Type: wire.TypeResult, ID: m.ID, Payload: m.Payload})
			}
			out = appendFrame(out[:0], answers)
			if ws.WriteMessage(websocket.TextMessage, out) != nil {
				return
			}
		}
	}))
	b.Cleanup(server.Close)
	c, err := Dial(context.Background(), server.URL, nil)
	require.NoError(b, err)
	b.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func BenchmarkInline(b *testing.B) {
	for _, inFlight := range []int{1, 64, 1000} {
		b.Run(fmt.Sprint(inFlight), func(b *testing.B) {
			c := newEchoClient(b)
			b.ReportAllocs()
			b.ResetTimer()
			work := make(chan struct{}, inFlight)
			var wg sync.WaitGroup
			for range inFlight {
				wg.Go(func() {
					for range work {
						if _, err := inline.With(5).Await(b.Context(), c); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			wg.Wait()
		})
	}
}
