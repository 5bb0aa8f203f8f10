package faults

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// speaker is a server that sends so many acks on each connection and then
// waits for the client to go.
func speaker(t *testing.T, acks int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		for i := range acks {
			if ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"ack","id":"call-%d","seq":1}`, i)) != nil {
				return
			}
		}
		_, _, _ = ws.ReadMessage()
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func proxyTo(t *testing.T, target string, budget int64) *Proxy {
	t.Helper()
	p, err := NewProxy(1, budget)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	p.SetTarget(target)
	return p
}

// heard reads until the connection is over or so many messages have come.
func heard(t *testing.T, p *Proxy, most int) (n int) {
	t.Helper()
	ws, response, err := websocket.DefaultDialer.Dial("ws://"+p.Address(), nil)
	if err != nil {
		return 0 // cut in the handshake
	}
	_ = response.Body.Close()
	defer func() { _ = ws.Close() }()
	require.NoError(t, ws.SetReadDeadline(time.Now().Add(20*time.Second)))
	for n < most {
		if _, _, err := ws.ReadMessage(); err != nil {
			var late net.Error
			require.False(t, errors.As(err, &late) && late.Timeout(), "neither a message nor the end of the connection came")
			return n
		}
		n++
	}
	return n
}

func TestCalmProxyPassesEverything(t *testing.T) {
	p := proxyTo(t, speaker(t, 2000), 100)
	p.Calm()
	require.Equal(t, 2000, heard(t, p, 2000))
	told, unread := p.Witness.Told()
	require.Len(t, told, 2000)
	require.Zero(t, unread)
	require.Zero(t, p.Cuts())
}

func TestConnectionsAreCut(t *testing.T) {
	p := proxyTo(t, speaker(t, 500), 5000)
	for range 30 {
		heard(t, p, 500)
	}
	require.Positive(t, p.Cuts())
}

// What arrives and what does not is the trigger's choice; the witness has seen
// it either way.
func TestTrigger(t *testing.T) {
	for _, arrives := range []bool{true, false} {
		p := proxyTo(t, speaker(t, 1), 1<<40)
		fired := 0
		p.Arm(&Trigger{Types: []string{"ack"}, Nth: 1, Arrives: arrives, Fire: func() { fired++ }})
		n := heard(t, p, 1)
		if arrives {
			require.Equal(t, 1, n)
		} else {
			require.Zero(t, n)
		}
		require.Eventually(t, func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.trigger == nil
		}, 10*time.Second, time.Millisecond)
		require.NoError(t, p.Close())
		require.Equal(t, 1, fired)
		told, _ := p.Witness.Told()
		require.Len(t, told, 1)
	}
}

func TestTriggerCounts(t *testing.T) {
	p := proxyTo(t, speaker(t, 9), 1<<40)
	p.Arm(&Trigger{Types: []string{"chunk"}, Nth: 1, Fire: func() { t.Error("no chunk was told") }})
	require.Equal(t, 9, heard(t, p, 9))
}

func TestNoTargetNoConnection(t *testing.T) {
	p := proxyTo(t, "", 1<<40)
	c, err := net.Dial("tcp", p.Address())
	if err == nil { // the reset may come as early as this
		_, err = io.ReadAll(c)
		_ = c.Close()
	}
	require.Error(t, err, "it is reset")
}

func TestCutAll(t *testing.T) {
	p := proxyTo(t, speaker(t, 1), 1<<40)
	p.Calm()
	done := make(chan int)
	go func() { done <- heard(t, p, 2) }()
	require.Eventually(t, func() bool {
		told, _ := p.Witness.Told()
		return len(told) == 1
	}, 10*time.Second, time.Millisecond)
	p.CutAll()
	require.LessOrEqual(t, <-done, 1)
	require.Equal(t, 1, p.Cuts())
}
