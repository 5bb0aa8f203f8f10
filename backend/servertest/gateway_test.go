package servertest

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// With any rates, each fault occurs about as often as its rate, the same seed chooses
// the same fault, and another seed, connection or side chooses others.
func TestRandomFaultsFollowTheRates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed, conn := rapid.Uint64().Draw(t, "seed"), rapid.IntRange(1, 1000).Draw(t, "conn")
		rates := Faults{}
		for _, f := range order[atFrame] {
			rates[f] = rapid.Float64Range(0, 1/float64(len(order[atFrame]))).Draw(t, string(f))
		}
		choose := func(seed uint64, conn int, from Side, n int) Fault {
			return randomFault(seed, rates, &occasion{at: atFrame, conn: conn, from: from, n: n}).fault
		}
		const n = 4000
		count := map[Fault]int{}
		differs := map[string]int{}
		for i := range n {
			got := choose(seed, conn, FromClient, i)
			count[got]++
			for what, other := range map[string]Fault{
				"nothing":    choose(seed, conn, FromClient, i),
				"seed":       choose(seed+1, conn, FromClient, i),
				"connection": choose(seed, conn+1, FromClient, i),
				"side":       choose(seed, conn, FromServer, i),
			} {
				if other != got {
					differs[what]++
				}
			}
		}
		for _, f := range order[atFrame] {
			// Six standard deviations, and a little for rates near 0.
			require.InDelta(t, n*rates[f], count[f], 6*math.Sqrt(n*rates[f])+6, f)
		}
		require.Zero(t, differs["nothing"], "the same frame of the same seed has another fault")
		clean := rates[Lose] + rates[Double] + rates[Cut]
		if clean > 0.05 {
			require.Len(t, differs, 3, "another seed, connection or side chooses the same")
		}
	})
}

// decisions sends the same traffic from the client, and returns its faults. seen are
// all faults, those of closes included.
func decisions(t *testing.T, seed uint64) (log []string, seen map[Fault]bool) {
	seen = map[Fault]bool{}
	rates := Rough()
	rates[HalfOpen] = 0.01
	inBubble(t, &Options{Seed: seed, Faults: rates, Only: FromClient}, func(t *testing.T, s *Server) {
		for range 60 {
			ws, response, err := handshake(s)
			if err != nil {
				require.ErrorIs(t, err, websocket.ErrBadHandshake)
				continue
			}
			_ = response.Body.Close()
			p := newRawClient(t, ws)
			for i := range 20 {
				if ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"list","ref":"%d"}`, i)) != nil {
					break
				}
				time.Sleep(3 * time.Second) // later than any delay: the traffic is the same
			}
			_ = ws.Close()
			p.end()
			time.Sleep(11 * time.Minute) // until all closes have arrived
		}
		for _, e := range s.Log() {
			seen[e.Fault] = true
			if e.From == FromClient && e.What != "close" {
				log = append(log, e.String())
			}
		}
	})
	return log, seen
}

// With the same seed and traffic, the same faults occur at the same frames and
// times. All faults occur.
func TestSeedsReproduce(t *testing.T) {
	first, seen := decisions(t, 7)
	again, _ := decisions(t, 7)
	other, _ := decisions(t, 8)
	require.Equal(t, first, again)
	require.NotEqual(t, first, other)
	for f := range Rough() {
		require.True(t, seen[f], f)
	}
}

func TestOnlyOneSide(t *testing.T) {
	s := New(t, router(), &Options{Faults: Faults{Double: 1}, Only: FromServer})
	p := dial(t, s)
	p.list("1")
	require.Equal(t, "1 1", p.refs(2))
	require.NoError(t, s.SetFaults(nil))
	p.requireAnswer("2")
	require.Equal(t, []string{"double: server's calls"}, faults(s))
}

// Scripted faults are applied to matching frames, in the order and as often as
// requested, before random ones.
func TestScripts(t *testing.T) {
	inBubble(t, &Options{Faults: Faults{Lose: 1}, Only: FromServer}, func(t *testing.T, s *Server) {
		first, second := dial(t, s), dial(t, s)
		never := s.Next(Cut, Type("nobody sends this"))
		twice := s.Next(Foreign, Type("calls"), Conn(2), Times(2))
		id := wire.NewID()
		about := s.Next(Double, Call(id), FromServer)
		first.list("1")
		for range 2 {
			second.list("2")
			require.Contains(t, typeless(t, second.frame()), "connectionId")
		}
		done(t, twice)
		second.list("3")
		first.send(`{"type":"subscribe","ref":"4","id":"%s"}`, wire.NewID())
		synctest.Wait()
		require.Empty(t, first.frames, "lost, by chance")
		require.Empty(t, second.frames, "lost, by chance")
		first.send(`{"type":"subscribe","ref":"5","id":"%s"}`, id)
		require.Equal(t, "5 5", first.refs(2))
		done(t, about)
		synctest.Wait()
		select {
		case <-never:
			t.Error("a fault was done to what does not match")
		default:
		}
	})
}

func TestInvalidArgumentsAreNamed(t *testing.T) {
	for want, o := range map[string]Options{
		`there is no fault "rain"`:         {Faults: Faults{"rain": 0.1}},
		"a rate is from 0 to 1":            {Faults: Faults{Lose: 1.1}},
		"is NaN":                           {Faults: Faults{Lose: math.NaN()}},
		"add up to 1.2, above 1":           {Faults: Faults{Lose: 0.6, Cut: 0.6}},
		"an option of time is negative":    {Hold: -1},
		`Only is "both"`:                   {Only: "both"},
		"server: an option of count is ne": {Server: &server.Options{MaxPending: -1}},
	} {
		_, err := Start(router(), &o)
		require.ErrorContains(t, err, want)
	}
	s := New(t, router(), nil)
	require.ErrorContains(t, s.SetFaults(Faults{"rain": 1}), "there is no fault")
	for want, next := range map[string]func(){
		`servertest: there is no fault "rain"`:                                                   func() { s.Next("rain") },
		"servertest: Times is at least 1, Skip and Conn are not negative":                        func() { s.Next(Lose, Times(0)) },
		`servertest: there is no side "both"`:                                                    func() { s.Next(Lose, Side("both")) },
		`servertest: "late close" is not a fault of frames; Type and Call do not match anything`: func() { s.Next(LateClose, Type("ack")) },
		`servertest: "throttle" is a fault of handshakes, which the client sends`:                func() { s.Next(Throttle, FromServer) },
	} {
		require.PanicsWithValue(t, want, next)
	}
	require.Panics(t, func() { s.Token("", "ann") })
	other := New(t, router(), &Options{Server: &server.Options{Auth: auth.Static(nil)}})
	require.Panics(t, func() { other.Token("acme", "ann") })
}

func TestLogIsBounded(t *testing.T) {
	s := New(t, router(), nil)
	for i := range 25_000 {
		s.addEntry(&Entry{Frame: i + 1})
	}
	log := s.Log()
	require.GreaterOrEqual(t, len(log), 9_000)
	require.LessOrEqual(t, len(log), 10_000)
	require.Equal(t, 25_000, log[len(log)-1].Frame)
	require.Equal(t, 1, log[1].Frame-log[0].Frame)
}

func TestFramesAreNamed(t *testing.T) {
	for data, want := range map[string]string{
		`{"type":"ack"}`: "ack",
		`[{"type":"chunk"},{"type":"chunk"},{"type":"result"}]`: "chunk×2+result",
		`{"message":"Internal server error"}`:                   "typeless",
		`nonsense`:                                              "unreadable",
		``:                                                      "unreadable",
		`{"type":"request","payload":{"type":"x"},"surprise":[{}]}`: "request",
	} {
		require.Equal(t, want, inspect([]byte(data)).String())
	}
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		start := time.Now()
		called := make(chan string, 9)
		note := func(name string) func() {
			return func() { called <- fmt.Sprint(name, " ", c.now().Sub(start)) }
		}
		c.after(3*time.Hour, note("c"))
		c.after(time.Hour, func() {
			note("a")()
			c.after(time.Hour, note("b"))
		})
		c.after(time.Minute, note("stopped")).stop()
		c.advance(2 * time.Hour)
		require.Equal(t, "a 1h0m0s", <-called)
		require.Equal(t, "b 2h0m0s", <-called)
		require.Empty(t, called)
		require.Equal(t, start, time.Now())
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, "c 3h0m0s", <-called)
		c.after(time.Hour, note("d"))
		c.close()
		c.after(time.Second, note("e"))
		c.advance(5 * time.Hour)
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		require.Empty(t, called, "a closed clock calls no more functions")
	})
}

// Close ends everything that runs; TestMain checks that no goroutine is left.
func TestCloseLeavesNothing(t *testing.T) {
	for _, fault := range append(slices.Sorted(maps.Keys(Rough())), "") {
		rates := Faults{}
		if fault != "" {
			rates[fault] = 0.5
		}
		s, err := Start(router(), &Options{Faults: rates, Seed: 3})
		require.NoError(t, err)
		var busy sync.WaitGroup
		for range 4 {
			busy.Go(func() {
				for {
					ws, _, err := handshake(s)
					switch {
					case errors.Is(err, websocket.ErrBadHandshake):
						continue
					case err != nil:
						return
					}
					for i := range 30 {
						if ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"list","ref":"%d"}`, i)) != nil {
							break
						}
						_ = ws.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
						if _, _, err := ws.ReadMessage(); err != nil {
							break
						}
					}
					_ = ws.Close()
				}
			})
		}
		for range 10 {
			if ws, _, err := handshake(s); err == nil {
				_ = ws.Close()
			}
		}
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		busy.Wait()
	}
}
