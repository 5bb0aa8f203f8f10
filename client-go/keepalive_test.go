package client

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

// TestConnectionIsPingedAndReplaced runs a client with the default intervals
// for twelve hours of a fake clock: it sends pings, replaces its connection
// before two hours are over, and replaces it when the server does not answer.
func TestConnectionIsPingedAndReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		openedAt := map[*websocket.Conn]time.Time{}
		var ages []time.Duration
		pings, unresponsive := 0, false
		upgrader := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
		server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer ws.Close()
			mu.Lock()
			openedAt[ws] = time.Now()
			mu.Unlock()
			for {
				_, data, err := ws.ReadMessage()
				if err != nil {
					mu.Lock()
					ages = append(ages, time.Since(openedAt[ws]))
					delete(openedAt, ws)
					mu.Unlock()
					return
				}
				items, _, _ := wire.DecodeClientFrame(data)
				mu.Lock()
				silent := unresponsive
				if items[0].Message.Type == wire.TypePing {
					pings++
				}
				mu.Unlock()
				if !silent && ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"pong"}`)) != nil {
					return
				}
			}
		})}
		network := newPipeListener()
		go server.Serve(network)
		c, err := Dial(t.Context(), "ws://server/ws", &Options{DialContext: network.dialContext})
		require.NoError(t, err)

		disconnects := 0
		stop, cancel := context.WithCancel(t.Context())
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			for s := range c.States(stop) {
				mu.Lock()
				if s.Phase != Open {
					disconnects++
				}
				mu.Unlock()
			}
		}()
		<-time.After(12 * time.Hour) // on the bubble's clock
		synctest.Wait()
		mu.Lock()
		require.Len(t, openedAt, 1)
		require.GreaterOrEqual(t, len(ages), 6)
		for _, age := range ages {
			require.Greater(t, age, time.Hour+49*time.Minute)
			require.Less(t, age, 2*time.Hour)
		}
		require.InDelta(t, 12*60/4, pings, 15)
		require.Zero(t, disconnects, "the client always has a connection")
		ages, unresponsive = nil, true
		mu.Unlock()

		<-time.After(4*time.Minute + 11*time.Second)
		synctest.Wait()
		mu.Lock()
		require.NotEmpty(t, ages, "a connection without an answer to a ping within 10 s is closed")
		mu.Unlock()
		cancel()
		<-watched
		require.NoError(t, c.Close(context.Background()))
		require.NoError(t, server.Close())
	})
}
