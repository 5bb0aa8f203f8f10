package servertest_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/servertest"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// frameFaults are the faults of frames.
var frameFaults = []servertest.Fault{
	servertest.Lose, servertest.Double, servertest.Overtake, servertest.Delay, servertest.Foreign, servertest.Cut, servertest.GoAway, servertest.HalfOpen,
}

// With any rates, each fault occurs about as often as its rate, the same seed chooses
// the same fault, and another seed, connection or side chooses others.
func TestRandomFaultsFollowTheRates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed, conn := rapid.Uint64().Draw(t, "seed"), rapid.IntRange(1, 1000).Draw(t, "conn")
		rates := servertest.Faults{}
		for _, f := range frameFaults {
			rates[f] = rapid.Float64Range(0, 1/float64(len(frameFaults))).Draw(t, string(f))
		}
		const n = 4000
		count := map[servertest.Fault]int{}
		differs := map[string]int{}
		for i := range n {
			got := servertest.RandomFault(seed, rates, conn, fromClient, i)
			count[got]++
			if got != servertest.RandomFault(seed, rates, conn, fromClient, i) {
				t.Fatal("the same frame of the same seed was judged differently")
			}
			for what, other := range map[string]servertest.Fault{
				"seed":       servertest.RandomFault(seed+1, rates, conn, fromClient, i),
				"connection": servertest.RandomFault(seed, rates, conn+1, fromClient, i),
				"side":       servertest.RandomFault(seed, rates, conn, fromServer, i),
			} {
				if other != got {
					differs[what]++
				}
			}
		}
		for _, f := range frameFaults {
			// Six standard deviations, and a little for rates near 0.
			if off := math.Abs(float64(count[f]) - n*rates[f]); off > 6*math.Sqrt(n*rates[f])+6 {
				t.Fatalf("%s occurred at %d of %d frames at a rate of %v", f, count[f], n, rates[f])
			}
		}
		clean := rates[servertest.Lose] + rates[servertest.Double] + rates[servertest.Cut]
		for _, what := range []string{"seed", "connection", "side"} {
			if clean > 0.05 && differs[what] == 0 {
				t.Fatalf("another %s chooses the same", what)
			}
		}
	})
}

// decisions sends the same traffic from the client, and returns its faults. seen are
// all faults, those of closes included.
func decisions(t *testing.T, seed uint64) (log []string, seen map[servertest.Fault]bool) {
	seen = map[servertest.Fault]bool{}
	synctest.Test(t, func(t *testing.T) {
		rates := servertest.Rough()
		rates[servertest.HalfOpen] = 0.01
		s := servertest.New(t, router(), &servertest.Options{Pipes: true, Seed: seed, Faults: rates, Only: fromClient})
		for range 60 {
			ws, response, err := handshake(s)
			if err != nil {
				require.ErrorIs(t, err, websocket.ErrBadHandshake)
				continue
			}
			_ = response.Body.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					if _, _, err := ws.ReadMessage(); err != nil {
						return
					}
				}
			}()
			for i := range 20 {
				if ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"list","ref":"%d"}`, i)) != nil {
					break
				}
				time.Sleep(3 * time.Second) // later than any delay: the traffic is the same
			}
			_ = ws.Close()
			<-done
			time.Sleep(11 * time.Minute) // until all closes have arrived
		}
		for _, e := range s.Log() {
			seen[e.Fault] = true
			if e.From == fromClient && e.What != "close" {
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
	for f := range servertest.Rough() {
		require.True(t, seen[f], f)
	}
}

func TestOnlyOneSide(t *testing.T) {
	s := servertest.New(t, router(), &servertest.Options{Faults: servertest.Faults{servertest.Double: 1}, Only: fromServer})
	p := dial(t, s)
	p.list("1")
	require.Equal(t, "1 1", p.refs(2))
	require.NoError(t, s.SetFaults(nil))
	p.list("2")
	require.Equal(t, "2", p.refs(1))
	require.Equal(t, []string{"double: server's calls"}, faults(s))
}

// Scripted faults are applied to matching frames, in the order and as often as
// requested, before random ones.
func TestScripts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servertest.New(t, router(), &servertest.Options{
			Pipes: true, Faults: servertest.Faults{servertest.Lose: 1}, Only: fromServer,
		})
		first, second := dial(t, s), dial(t, s)
		never := s.Next(servertest.Cut, servertest.Type("nobody sends this"))
		twice := s.Next(servertest.Foreign, servertest.Type("calls"), servertest.Conn(2), servertest.Times(2))
		id := wire.NewID()
		about := s.Next(servertest.Double, servertest.Call(id), fromServer)
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
	for want, o := range map[string]servertest.Options{
		`there is no fault "rain"`:         {Faults: servertest.Faults{"rain": 0.1}},
		"a rate is from 0 to 1":            {Faults: servertest.Faults{servertest.Lose: 1.1}},
		"is NaN":                           {Faults: servertest.Faults{servertest.Lose: math.NaN()}},
		"add up to 1.2, above 1":           {Faults: servertest.Faults{servertest.Lose: 0.6, servertest.Cut: 0.6}},
		"an option of time is negative":    {Hold: -1},
		`Only is "both"`:                   {Only: "both"},
		"server: an option of count is ne": {Server: &server.Options{MaxPending: -1}},
	} {
		_, err := servertest.Start(router(), &o)
		require.ErrorContains(t, err, want)
	}
	s := servertest.New(t, router(), nil)
	require.ErrorContains(t, s.SetFaults(servertest.Faults{"rain": 1}), "there is no fault")
	for want, next := range map[string]func(){
		`servertest: there is no fault "rain"`:                                                   func() { s.Next("rain") },
		"servertest: Times is at least 1, Skip and Conn are not negative":                        func() { s.Next(servertest.Lose, servertest.Times(0)) },
		`servertest: there is no side "both"`:                                                    func() { s.Next(servertest.Lose, servertest.Side("both")) },
		`servertest: "late close" is not a fault of frames; Type and Call do not match anything`: func() { s.Next(servertest.LateClose, servertest.Type("ack")) },
		`servertest: "throttle" is a fault of handshakes, which the client sends`:                func() { s.Next(servertest.Throttle, fromServer) },
	} {
		require.PanicsWithValue(t, want, next)
	}
	require.Panics(t, func() { s.Token("", "ann") })
	other := servertest.New(t, router(), &servertest.Options{Server: &server.Options{Auth: auth.Static(nil)}})
	require.Panics(t, func() { other.Token("acme", "ann") })
}

func TestLogIsBounded(t *testing.T) {
	s := servertest.New(t, router(), nil)
	s.FillLog(25_000)
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
		require.Equal(t, want, servertest.Inspect(data))
	}
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := servertest.NewClock()
		start := time.Now()
		var called []string
		var mu sync.Mutex
		note := func(name string) func() {
			return func() {
				mu.Lock()
				defer mu.Unlock()
				called = append(called, fmt.Sprint(name, " ", c.Now().Sub(start)))
			}
		}
		soFar := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(called)
		}
		c.After(3*time.Hour, note("c"))
		c.After(time.Hour, func() {
			note("a")()
			c.After(time.Hour, note("b"))
		})
		c.Stop(time.Minute, note("stopped"))
		c.Advance(2 * time.Hour)
		require.Equal(t, []string{"a 1h0m0s", "b 2h0m0s"}, soFar())
		require.Equal(t, start, time.Now())
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, []string{"a 1h0m0s", "b 2h0m0s", "c 3h0m0s"}, soFar())
		c.After(time.Hour, note("d"))
		c.Close()
		c.After(time.Second, note("e"))
		c.Advance(5 * time.Hour)
		time.Sleep(5 * time.Hour)
		require.Len(t, soFar(), 3, "a closed clock calls no more functions")
	})
}

// Close ends everything that runs; TestMain checks that no goroutine is left.
func TestCloseLeavesNothing(t *testing.T) {
	for _, fault := range append(slices.Sorted(maps.Keys(servertest.Rough())), "") {
		rates := servertest.Faults{}
		if fault != "" {
			rates[fault] = 0.5
		}
		s, err := servertest.Start(router(), &servertest.Options{Faults: rates, Seed: 3})
		require.NoError(t, err)
		var busy sync.WaitGroup
		for range 4 {
			busy.Go(func() {
				for {
					ws, _, err := handshake(s)
					if err != nil {
						if strings.Contains(err.Error(), "bad handshake") {
							continue
						}
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
			dialOne(s)
		}
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		busy.Wait()
	}
}

func dialOne(s *servertest.Server) {
	if ws, _, err := handshake(s); err == nil {
		_ = ws.Close()
	}
}
