package servertest

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/stretchr/testify/require"
)

// Without faults the gateway changes nothing, and the log has no faults.
func TestNoFaults(t *testing.T) {
	s := New(t, router(), nil)
	p := dial(t, s)
	id := p.request(`"action":"emit","payload":{"chunks":3}`)
	require.Equal(t, `{"chunks":3,"attempt":1}`, string(p.next(wire.TypeResult).Payload))
	require.Empty(t, faults(s))
	require.Equal(t, 1, s.Connections())
	require.NoError(t, p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(wire.CloseNormal, ""), time.Now().Add(time.Second)))
	require.Equal(t, wire.CloseNormal, p.end())
	for _, e := range s.Log() {
		require.Equal(t, 1, e.Conn)
		require.NotContains(t, e.String(), id)
	}
}

// Each fault of frames is applied to the middle one of three: a raw client sees
// only this fault, and so does the log.
func TestFramesHaveFaults(t *testing.T) {
	for _, c := range []struct {
		fault Fault
		side  Side
		want  string
	}{
		{Lose, FromClient, "1 3"},
		{Lose, FromServer, "1 3"},
		{Double, FromClient, "1 2 2 3"},
		{Double, FromServer, "1 2 2 3"},
		{Overtake, FromClient, "1 3 2"},
		{Overtake, FromServer, "1 3 2"},
		{Delay, FromClient, "1 3 2"},
		{Delay, FromServer, "1 3 2"},
	} {
		t.Run(string(c.fault)+" "+string(c.side), func(t *testing.T) {
			inBubble(t, &Options{Seed: 4, Hold: time.Hour}, func(t *testing.T, s *Server) {
				applied := s.Next(c.fault, c.side, Skip(1))
				p := dial(t, s)
				for _, ref := range strings.Fields("1 2 3") {
					p.seal(ref)
					synctest.Wait() // each answer leaves by itself
				}
				require.Equal(t, c.want, p.refs(len(strings.Fields(c.want))))
				done(t, applied)
				what := map[Side]string{FromClient: "client's seal", FromServer: "server's error"}[c.side]
				require.Equal(t, []string{string(c.fault) + ": " + what}, faults(s))
				p.list("4")
				require.Equal(t, "4", p.refs(1), "no other answer arrives, and no other fault occurs")
			})
		})
	}
}

// A frame that no other overtakes arrives after Hold; a delayed one after its
// delay.
func TestLateFramesArrive(t *testing.T) {
	inBubble(t, &Options{Hold: 3 * time.Second, Delay: time.Minute}, func(t *testing.T, s *Server) {
		p := dial(t, s)
		s.Next(Overtake, FromServer)
		start := time.Now()
		p.requireAnswer("1")
		require.Equal(t, 3*time.Second, time.Since(start))
		s.Next(Delay, FromServer)
		p.list("2")
		synctest.Wait()
		require.Empty(t, p.frames)
		s.Advance(time.Minute)
		start = time.Now()
		require.Equal(t, "2", p.refs(1))
		require.Zero(t, time.Since(start))
	})
}

// A gateway's own error has no type; the client's frame was not handled, the
// server's was.
func TestForeignFrames(t *testing.T) {
	for _, side := range []Side{FromClient, FromServer} {
		t.Run(string(side), func(t *testing.T) {
			s := New(t, router(), nil)
			p := dial(t, s)
			s.Next(Foreign, side)
			id := p.request(`"action":"echo","payload":1`)
			m := typeless(t, p.frame())
			require.Equal(t, "Internal server error", m["message"])
			require.NotEmpty(t, m["connectionId"])
			require.NotEmpty(t, m["requestId"])
			require.NotContains(t, m, "type")
			p.send(`{"type":"subscribe","ref":"r","id":"%s"}`, id)
			if side == FromClient {
				require.Equal(t, wire.CodeNotFound, p.next(wire.TypeError).Code)
			} else {
				require.Equal(t, id, p.next(wire.TypeSnapshot).ID)
			}
			require.Len(t, faults(s), 1)
		})
	}
}

// The connection ends at the frame: without a close frame and without the frame, or
// with 1001 after it.
func TestConnectionsEndWithAFrame(t *testing.T) {
	for _, side := range []Side{FromClient, FromServer} {
		inBubble(t, &Options{}, func(t *testing.T, s *Server) {
			p := dial(t, s)
			applied := s.Next(Cut, side)
			id := p.request(`"action":"echo","payload":1`)
			require.Equal(t, websocket.CloseAbnormalClosure, p.end())
			require.Zero(t, p.drained)
			done(t, applied)
			synctest.Wait()
			want := map[Side]string{FromClient: wire.CodeNotFound, FromServer: "succeeded"}[side]
			require.Equal(t, want, statusOf(t, s, id))
			p = dial(t, s)
			s.Next(GoAway, side)
			p.list("2")
			if side == FromServer {
				require.Equal(t, "2", p.refs(1))
			}
			require.Equal(t, wire.CloseGoingAway, p.end())
			require.Len(t, faults(s), 2)
		})
	}
}

// Manual faults apply to all connections at the time; later ones are not affected.
func TestAllConnectionsByHand(t *testing.T) {
	s := New(t, router(), nil)
	first, second := dial(t, s), dial(t, s)
	s.CutAll()
	require.Equal(t, websocket.CloseAbnormalClosure, first.end())
	require.Equal(t, websocket.CloseAbnormalClosure, second.end())
	third := dial(t, s)
	s.GoAwayAll()
	require.Equal(t, wire.CloseGoingAway, third.end())
	fourth := dial(t, s)
	fourth.requireAnswer("1")
}

// A half-open connection receives nothing, not even a pong; the server is notified
// after ten idle minutes.
func TestHalfOpen(t *testing.T) {
	inBubble(t, &Options{}, func(t *testing.T, s *Server) {
		p := dial(t, s)
		pongs := 0
		p.ws.SetPongHandler(func(string) error { pongs++; return nil })
		id := p.request(`"action":"wait","cancelAfterMs":0`)
		p.next(wire.TypeChunk)
		require.NoError(t, p.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)))
		synctest.Wait()
		require.Equal(t, 1, pongs)
		s.Next(Delay, FromServer)
		s.Next(Overtake, FromServer)
		for range 2 { // their answers are late, and do not arrive any more
			p.list("r")
			synctest.Wait()
		}
		s.Next(HalfOpen, FromClient)
		p.list("r")
		unheard := p.request(`"action":"echo","payload":1`)
		for range 10 {
			p.list("r")
			require.NoError(t, p.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)))
		}
		time.Sleep(9 * time.Minute)
		require.Empty(t, p.frames)
		require.Equal(t, 1, pongs)
		require.Equal(t, "running", statusOf(t, s, id), "the server has not been notified")
		require.Equal(t, wire.CodeNotFound, statusOf(t, s, unheard))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, "cancelled", statusOf(t, s, id))
		require.Empty(t, p.frames)
		synctest.Wait()
		require.Equal(t, 1, s.Connections(), "the client still believes in it")
	})
}

// statusOf returns the status of a call, or not_found, over a new connection.
func statusOf(t *testing.T, s *Server, id string) string {
	t.Helper()
	p := dial(t, s)
	p.send(`{"type":"subscribe","ref":"r","id":"%s"}`, id)
	defer func() { require.NoError(t, p.ws.Close()) }()
	for {
		for _, m := range p.messages() {
			switch {
			case m.Type == wire.TypeSnapshot:
				return m.Status
			case m.Type == wire.TypeError && m.Ref != "":
				return m.Code
			}
		}
	}
}

// Refused handshakes have the gateway's format, not the protocol's.
func TestHandshakesAreThrottled(t *testing.T) {
	s := New(t, router(), &Options{Faults: Faults{Throttle: 1}})
	seen := map[int]bool{}
	for range 20 {
		_, response, err := handshake(s)
		require.ErrorIs(t, err, websocket.ErrBadHandshake)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NotContains(t, string(body), "code")
		require.NotEmpty(t, typeless(t, string(body))["message"])
		seen[response.StatusCode] = true
	}
	require.Equal(t, map[int]bool{http.StatusTooManyRequests: true, http.StatusServiceUnavailable: true}, seen)
	require.NoError(t, s.SetFaults(nil))
	dial(t, s)
}

func TestStillborn(t *testing.T) {
	s := New(t, router(), nil)
	applied := s.Next(Stillborn, Conn(2))
	first, second := dial(t, s), dial(t, s)
	require.Equal(t, websocket.CloseAbnormalClosure, second.end())
	done(t, applied)
	first.requireAnswer("1")
	require.Equal(t, []string{"stillborn: client's handshake"}, faults(s))
}

// Messages to a connection within NotYet are lost, later ones are not.
func TestNotYet(t *testing.T) {
	inBubble(t, &Options{NotYet: time.Second}, func(t *testing.T, s *Server) {
		s.Next(NotYet)
		p := dial(t, s)
		p.list("1")
		synctest.Wait()
		time.Sleep(time.Second)
		p.requireAnswer("2")
		require.Equal(t, []string{"not yet: client's handshake", "not yet: server's calls"}, faults(s))
	})
}

// The server is notified that a client has left at once, late, when it posts, or at
// the idle limit; the end of a call with cancelAfterMs shows when.
func TestClosesAreLateAndLost(t *testing.T) {
	for _, c := range []struct {
		fault Fault
		posts bool
		least time.Duration
		most  time.Duration
	}{
		{"", false, 0, 0},
		{LateClose, false, time.Second, time.Minute},
		{LoseClose, false, 9 * time.Minute, 10 * time.Minute},
		{LoseClose, true, 5 * time.Second, 5 * time.Second},
	} {
		t.Run(string(c.fault), func(t *testing.T) {
			inBubble(t, &Options{Seed: 1}, func(t *testing.T, s *Server) {
				p := dial(t, s)
				if c.fault != "" {
					s.Next(c.fault, FromClient)
				}
				p.request(`"action":"wait","cancelAfterMs":0`)
				p.next(wire.TypeChunk)
				if c.posts {
					p.request(`"action":"emit","payload":{"chunks":1,"pauseMs":5000}`)
					p.next(wire.TypeAck)
				}
				watcher := dial(t, s)
				require.NoError(t, p.ws.Close())
				start := time.Now()
				for {
					watcher.send(`{"type":"list","ref":"r","action":"wait"}`)
					if watcher.next("calls").Calls[0].Status == "cancelled" {
						break
					}
					time.Sleep(100 * time.Millisecond)
				}
				took := time.Since(start)
				require.GreaterOrEqual(t, took, c.least)
				require.LessOrEqual(t, took, c.most+time.Second)
			})
		})
	}
}

// If a server's close is lost, the connection ends without a close frame.
func TestServerCloseIsLost(t *testing.T) {
	for fault, want := range map[Fault]int{"": wire.CloseRestart, LoseClose: websocket.CloseAbnormalClosure} {
		s := New(t, router(), nil)
		p := dial(t, s)
		if fault != "" {
			s.Next(fault, FromServer)
		}
		p.requireAnswer("1") // the server knows this connection now
		require.NoError(t, s.Shutdown(t.Context()))
		require.Equal(t, want, p.end(), fault)
		closing := slices.ContainsFunc(s.Log(), func(e Entry) bool { return e.What == wire.TypeClosing })
		require.True(t, closing)
	}
}

// A graceful shutdown waits for late frames.
func TestShutdownWaitsForLateFrames(t *testing.T) {
	inBubble(t, &Options{CloseLag: time.Second}, func(t *testing.T, s *Server) {
		p := dial(t, s)
		s.Next(LateClose, FromServer)
		synctest.Wait()
		require.NoError(t, s.Shutdown(t.Context()))
		require.Equal(t, wire.CloseRestart, p.end())
	})
}

// The limits of API Gateway: 32 KiB, ten idle minutes, two hours. It closes with
// 1001 and sends no other message.
func TestLimits(t *testing.T) {
	s := New(t, router(), nil)
	p := dial(t, s)
	p.send(`{"type":"request","id":"%s","action":"echo","payload":"%s"}`, wire.NewID(), strings.Repeat("x", 31<<10))
	p.next(wire.TypeResult)
	for range 5 {
		p = dial(t, s)
		_ = p.ws.WriteMessage(websocket.TextMessage, []byte(strings.Repeat(" ", 1<<20)))
		require.Equal(t, wire.CloseTooBig, p.end())
	}
	for _, e := range s.Log() {
		require.Less(t, e.Bytes, 33<<10, "the server does not see it")
	}

	p = dial(t, s)
	s.Advance(9 * time.Minute)
	p.requireAnswer("1")
	s.Advance(9 * time.Minute)
	p.requireAnswer("2")
	s.Advance(10 * time.Minute)
	require.Equal(t, wire.CloseGoingAway, p.end())

	inBubble(t, &Options{}, func(t *testing.T, s *Server) {
		p := dial(t, s)
		begun := time.Now()
		for time.Since(begun) < 118*time.Minute {
			p.requireAnswer("r")
			time.Sleep(5 * time.Minute)
		}
		require.Equal(t, wire.CloseGoingAway, p.end())
		require.InDelta(t, 2*time.Hour, time.Since(begun), float64(time.Second))
		for _, e := range s.Log() {
			require.NotEqual(t, wire.TypeClosing, e.What, "a gateway sends no closing message")
		}
	})
}

// recorder records what is read from a connection.
type recorder struct {
	net.Conn
	read bytes.Buffer
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.read.Write(b[:n])
	return n, err
}

// A message to a client is cut into frames of 32 KiB, as API Gateway does.
func TestLongMessagesAreFragmented(t *testing.T) {
	s := New(t, router(), nil)
	var raw *recorder
	connect := s.dial
	s.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := connect(ctx, network, address)
		raw = &recorder{Conn: conn}
		return raw, err
	}
	p := dial(t, s)
	p.request(`"action":"big","payload":90000`)
	total := 0
	for total < 90_000 {
		total += len(p.frame())
	}
	require.NoError(t, p.ws.Close())
	p.end()
	_, frames, _ := bytes.Cut(raw.read.Bytes(), []byte("\r\n\r\n"))
	var lengths []int
	for sum := 0; sum < total; {
		n, head := int(frames[1]), 2
		switch n {
		case 126:
			n, head = int(binary.BigEndian.Uint16(frames[2:])), 4
		case 127:
			n, head = int(binary.BigEndian.Uint64(frames[2:])), 10
		}
		lengths = append(lengths, n)
		sum += n
		frames = frames[head+n:]
	}
	require.GreaterOrEqual(t, len(lengths), 3)
	require.LessOrEqual(t, slices.Max(lengths), 32<<10)
}

// A client that does not read is throttled, and uses a bounded amount of memory.
func TestSlowReaders(t *testing.T) {
	inBubble(t, &Options{Server: &server.Options{WriteTimeout: 3 * time.Second}}, func(t *testing.T, s *Server) {
		ws, response, err := handshake(s)
		require.NoError(t, err)
		_ = response.Body.Close()
		frame := []byte(`{"type":"request","id":"` + wire.NewID() + `","action":"emit","payload":{"chunks":200,"size":60000},"mode":"async"}`)
		require.NoError(t, ws.WriteMessage(websocket.TextMessage, frame))
		time.Sleep(time.Minute) // the gateway's write, and then the server's, time out
		bytes := 0
		for _, e := range s.Log() {
			if e.From == FromServer {
				bytes += e.Bytes
			}
		}
		require.Less(t, bytes, 1<<20)
		require.Zero(t, s.Connections())
		require.NoError(t, ws.Close())
	})
}

func TestRefusalsAreRelayed(t *testing.T) {
	s := New(t, router(), &Options{Server: &server.Options{Origins: []string{"https://a.example"}}})
	d := websocket.Dialer{Subprotocols: []string{wire.Subprotocol}}
	_, response, err := d.Dial(s.URL, nil)
	require.ErrorIs(t, err, websocket.ErrBadHandshake)
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
	require.Equal(t, "Bearer", response.Header.Get("WWW-Authenticate"))
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, wire.CodeUnauthorized, typeless(t, string(body))["code"])
	_, response, err = d.Dial(s.URL, http.Header{"Origin": {"https://b.example"}})
	require.ErrorIs(t, err, websocket.ErrBadHandshake)
	require.Equal(t, http.StatusForbidden, response.StatusCode)
	// A browser's way, and what is no WebSocket.
	d.Subprotocols = append(d.Subprotocols, wire.BearerPrefix+s.Token("acme", "ann"))
	ws, response, err := d.Dial(s.URL, http.Header{"Origin": {"https://a.example"}})
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Equal(t, wire.Subprotocol, ws.Subprotocol())
	require.NoError(t, ws.Close())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http"+strings.TrimPrefix(s.URL, "ws")+"/healthz", nil)
	require.NoError(t, err)
	web := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: hangTimeout}
	response, err = web.Do(request)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.NoError(t, response.Body.Close())
}
