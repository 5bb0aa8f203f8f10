package client

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

// TestConnectionIsPingedAndReplaced runs a client with the default intervals
// for twelve hours of a fake clock: it sends pings, replaces its connection
// before two hours are over, and replaces it when the server does not answer.
func TestConnectionIsPingedAndReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		open, pings, disconnects, unresponsive := 0, 0, 0, false
		var ages []time.Duration // of the connections that were closed
		var codes []int
		h := newServerInBubble(t)
		h.serve(func(p *serverConn) {
			openedAt := time.Now()
			mu.Lock()
			open++
			mu.Unlock()
			for range p.messages { // all are pings
				mu.Lock()
				pings++
				answer := !unresponsive
				mu.Unlock()
				if answer {
					p.send(wire.ServerMessage{Type: wire.TypePong})
				}
			}
			mu.Lock()
			open--
			ages = append(ages, time.Since(openedAt))
			codes = append(codes, p.waitClosed())
			mu.Unlock()
		})
		c, err := Dial(t.Context(), h.server.URL, &Options{DialContext: h.dialContext})
		require.NoError(t, err)
		go func() {
			for s := range c.States(t.Context()) { // until the client is closed
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
		require.Equal(t, 1, open)
		require.GreaterOrEqual(t, len(ages), 6)
		for i, age := range ages {
			require.Greater(t, age, time.Hour+49*time.Minute)
			require.Less(t, age, 2*time.Hour)
			require.Equal(t, wire.CloseNormal, codes[i])
		}
		require.InDelta(t, 12*60/4, pings, 15)
		require.Zero(t, disconnects, "the client always has a connection")
		ages, unresponsive = nil, true
		mu.Unlock()

		<-time.After(4*time.Minute + 11*time.Second)
		synctest.Wait()
		mu.Lock()
		require.NotEmpty(t, ages, "a connection without an answer to a ping within 10 s is closed")
		require.Equal(t, 1, open, "and replaced")
		mu.Unlock()
		require.NoError(t, c.Close(t.Context()))
	})
}
