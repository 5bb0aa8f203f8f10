package client

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

// pipes is a network in memory, for tests on a clock that does not run.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestHoursGoBy runs a client with the intervals of the protocol through half
// a day: it pings, replaces its connection before two hours are over, and finds
// out when the server is dead.
func TestHoursGoBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		begun := map[*websocket.Conn]time.Time{}
		var lives []time.Duration
		pings, deaf := 0, false
		upgrader := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
		server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer ws.Close()
			mu.Lock()
			begun[ws] = time.Now()
			mu.Unlock()
			for {
				_, data, err := ws.ReadMessage()
				if err != nil {
					mu.Lock()
					lives = append(lives, time.Since(begun[ws]))
					delete(begun, ws)
					mu.Unlock()
					return
				}
				items, _, _ := wire.DecodeClientFrame(data)
				mu.Lock()
				silent := deaf
				if items[0].Message.Type == wire.TypePing {
					pings++
				}
				mu.Unlock()
				if !silent && ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"pong"}`)) != nil {
					return
				}
			}
		})}
		network := newPipes()
		go server.Serve(network)
		c, err := Dial(t.Context(), "ws://server/ws", &Options{DialContext: network.dial})
		require.NoError(t, err)

		down := 0
		stop, cancel := context.WithCancel(t.Context())
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			for s := range c.States(stop) {
				mu.Lock()
				if s.Phase != Open {
					down++
				}
				mu.Unlock()
			}
		}()
		<-time.After(12 * time.Hour) // of the bubble's own clock
		synctest.Wait()
		mu.Lock()
		require.Len(t, begun, 1)
		require.GreaterOrEqual(t, len(lives), 6)
		for _, life := range lives {
			require.Greater(t, life, time.Hour+49*time.Minute)
			require.Less(t, life, 2*time.Hour)
		}
		require.InDelta(t, 12*60/4, pings, 15)
		require.Zero(t, down, "it was never without a connection")
		lives, deaf = nil, true
		mu.Unlock()

		<-time.After(4*time.Minute + 11*time.Second)
		synctest.Wait()
		mu.Lock()
		require.NotEmpty(t, lives, "a server that does not answer a ping within 10 s is dead")
		mu.Unlock()
		cancel()
		<-watched
		require.NoError(t, c.Close(context.Background()))
		require.NoError(t, server.Close())
	})
}
