package session

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

var (
	simulations = flag.Int("simulations", 300, "how many random simulations to run")
	firstSeed   = flag.Uint64("seed", 1, "the seed of the first simulation")
)

// TestReaderSeesWhatTheServerHas checks the main property: whatever the
// network does, a reader misses no event, gets none twice or in the wrong
// order, gets right counts of discarded chunks, and gets the end exactly once.
func TestReaderSeesWhatTheServerHas(t *testing.T) {
	n := *simulations
	if testing.Short() {
		n = 50
	}
	for seed := *firstSeed; seed < *firstSeed+uint64(n); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runSimulation(t, seed) })
	}
}

func runSimulation(t *testing.T, seed uint64) {
	s := newSimulation(t, seed)
	for i := range 1 + s.random.IntN(5) {
		s.startCall(i, wire.NewIDAt(time.UnixMilli(int64(i))))
	}
	s.injectFaults()
	s.run()
	require.Empty(t, s.machine.streams, "streams remain")
	require.Zero(t, s.machine.calls)
}

// startCall starts a call, perhaps with other readers, at random times.
func (s *simulation) startCall(i int, id string) {
	action := "a"
	if s.random.IntN(6) == 0 {
		action = "inline"
	}
	start := func(name, id string, endOnly bool) {
		s.readers++
		s.schedule(s.randomBelow(5*time.Second), func() {
			c := wire.ClientMessage{Type: wire.TypeRequest, ID: id, Action: action}
			call, err := s.machine.Submit(s.now, &Request{ID: id, Body: c.Append(nil), EndOnly: endOnly, Pausable: i%2 == 0})
			require.Nil(s.t, err)
			s.readCall(name, call, endOnly)
		})
	}
	start(fmt.Sprintf("call %d", i), id, s.random.IntN(5) == 0)
	if action == "inline" {
		return
	}
	attach := func(then func(*Call)) { // once the server has the call
		s.when(func() bool { return s.server.calls[id] != nil }, 3*time.Second, func() {
			call, err := s.machine.Attach(s.now, id)
			require.Nil(s.t, err)
			then(call)
		})
	}
	switch s.random.IntN(5) {
	case 0: // a second reader attaches
		s.readers++
		attach(func(call *Call) { s.readCall(fmt.Sprintf("call %d, attached", i), call, false) })
	case 1: // a second reader attaches and detaches
		attach(func(call *Call) {
			s.schedule(s.randomBelow(4*time.Second), func() { s.machine.Detach(s.now, call) })
		})
	case 2: // the same id is submitted again
		start(fmt.Sprintf("call %d, double", i), id, false)
	case 3: // another id has the same idempotency key
		other := wire.NewIDAt(time.UnixMilli(int64(1000 + i)))
		s.server.keyOwners[other] = id
		start(fmt.Sprintf("call %d, by key", i), other, false)
	}
}

// readCall reads a call in one of the possible ways.
func (s *simulation) readCall(name string, call *Call, endOnly bool) {
	r := &simReader{sim: s, name: name, call: call, maxPause: time.Duration(1+s.random.IntN(1000)) * time.Millisecond}
	switch {
	case endOnly:
		s.schedule(0, func() { s.waitForEnd(name, call) })
	case s.random.IntN(4) == 0: // first the end, then the events
		s.machine.WaitEnd(s.now, call)
		s.when(func() bool { return call.Reader.End() != nil }, time.Second, func() {
			require.Nil(s.t, call.Reader.End().Err)
			s.machine.SetReading(s.now, call, true)
			r.readSome()
		})
	default:
		s.machine.SetReading(s.now, call, true)
		r.readSome()
	}
}

// when does something once a condition is true; it looks at random times, at
// least once in a pause.
func (s *simulation) when(condition func() bool, pause time.Duration, do func()) {
	s.schedule(s.randomBelow(pause), func() {
		if condition() {
			do()
		} else {
			s.when(condition, pause, do)
		}
	})
}

// waitForEnd waits for the end only, as Await does.
func (s *simulation) waitForEnd(name string, call *Call) {
	for e, ok := s.machine.NextEvent(s.now, call); ok; e, ok = s.machine.NextEvent(s.now, call) {
		if e.Kind == follow.End {
			require.Nil(s.t, e.Err, name)
			s.ends++
			return
		}
		require.Equal(s.t, follow.Progress, e.Kind, name)
	}
	s.schedule(time.Millisecond+s.randomBelow(time.Second), func() { s.waitForEnd(name, call) })
}

// injectFaults breaks connections, sends foreign frames, announces shutdowns
// and makes the server lose its data.
func (s *simulation) injectFaults() {
	s.schedule(s.randomBelow(s.faultInterval), func() {
		if !s.faulty() {
			return
		}
		if c := s.machine.conn; c != nil {
			switch s.random.IntN(6) {
			case 0:
				s.machine.Received(s.now, c.gen, []wire.ServerMessage{{}})
			case 1:
				s.toClient(c.gen, wire.ServerMessage{Type: wire.TypeClosing, Reason: "shutdown", Reconnect: new(true), AfterMs: 2000})
				s.schedule(s.randomBelow(4*time.Second), func() { s.closeConn(c.gen, wire.CloseRestart) })
			case 2: // the server loses its data, if frames keep their order
				if !s.lossy {
					s.server.resetCalls()
				}
				s.closeConn(c.gen, 0)
				for _, gen := range slices.Sorted(maps.Keys(s.machine.conns)) {
					if gen != c.gen {
						s.closeConn(gen, 0)
					}
				}
			default:
				s.closeConn(c.gen, 0)
			}
		}
		s.injectFaults()
	})
}
