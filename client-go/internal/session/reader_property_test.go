package session

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

var (
	simulations = flag.Int("worlds", 300, "how many random worlds to try")
	firstSeed   = flag.Uint64("first", 1, "the seed of the first world")
)

// TestReaderSeesWhatTheServerHas is the property that matters: whatever the
// network does, a reader gets no gap, no double, no wrong order and no wrong
// count of void chunks, and always gets its end, once.
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
	timing := Timing{Ping: 5 * time.Second}
	if seed%4 < 2 {
		timing.MaxAge, timing.MaxAgeSpread = 20*time.Second, 10*time.Second
	}
	w := newSimulation(t, seed, Config{Buffer: 1000, MaxCalls: 1000, Timing: timing})
	calls := 1 + w.random.IntN(5)
	readers := 0
	for i := range calls {
		id := wire.NewIDAt(time.UnixMilli(int64(i)))
		readers += w.startCall(i, id)
	}
	w.injectFaults()
	w.run(readers)
	require.Empty(t, w.machine.streams, "streams are left")
	require.Zero(t, w.machine.calls)
}

// begin has a call started, and perhaps followed by others, at random moments.
// It returns how many readers there will be.
func (w *simulation) startCall(i int, id string) (readers int) {
	action := "a"
	if w.random.IntN(6) == 0 {
		action = "inline"
	}
	start := func(name, id string, skip bool) {
		readers++
		w.schedule(w.randomBelow(5*time.Second), func() {
			c := wire.ClientMessage{Type: wire.TypeRequest, ID: id, Action: action}
			call, err := w.machine.Submit(w.now, &Request{ID: id, Body: c.Append(nil), EndOnly: skip, Pausable: i%2 == 0})
			require.Nil(w.t, err)
			w.readCall(name, call, skip)
		})
	}
	start(fmt.Sprintf("call %d", i), id, w.random.IntN(5) == 0)
	if action == "inline" {
		return readers
	}
	switch w.random.IntN(5) {
	case 0: // attached to, as soon as the server has it
		readers++
		w.whenKnown(id, func() {
			call, err := w.machine.Attach(w.now, id, false)
			require.Nil(w.t, err)
			w.readCall(fmt.Sprintf("call %d, attached", i), call, false)
		})
	case 1: // followed and left, and followed again
		w.whenKnown(id, func() {
			call, err := w.machine.Attach(w.now, id, false)
			require.Nil(w.t, err)
			w.schedule(w.randomBelow(4*time.Second), func() { w.machine.Detach(w.now, call) })
		})
	case 2: // the same id once more
		start(fmt.Sprintf("call %d, double", i), id, false)
	case 3: // another id with the same key
		other := wire.NewIDAt(time.UnixMilli(int64(1000 + i)))
		w.server.keyOwners[other] = id
		start(fmt.Sprintf("call %d, by key", i), other, false)
	}
	return readers
}

// use reads a call in one of the ways in which it can be read.
func (w *simulation) readCall(name string, call *Call, skip bool) {
	r := &simReader{sim: w, name: name, call: call, maxPause: time.Duration(1+w.random.IntN(1000)) * time.Millisecond}
	switch {
	case skip:
		w.schedule(0, func() { w.waitForEnd(name, call) })
	case w.random.IntN(4) == 0: // first the end, then the events
		w.machine.WaitEnd(w.now, call)
		w.whenEnded(call, func() {
			w.machine.SetReading(w.now, call, true)
			r.readSome()
		})
	default:
		w.machine.SetReading(w.now, call, true)
		r.readSome()
	}
}

// whenKnown does something once the server has the call.
func (w *simulation) whenKnown(id string, do func()) {
	w.schedule(w.randomBelow(3*time.Second), func() {
		if w.server.calls[id] == nil {
			w.whenKnown(id, do)
			return
		}
		do()
	})
}

// whenEnded does something once the call's end is known.
func (w *simulation) whenEnded(call *Call, do func()) {
	w.schedule(w.randomBelow(time.Second), func() {
		if call.Reader.End() == nil {
			w.whenEnded(call, do)
			return
		}
		require.Nil(w.t, call.Reader.End().Err)
		do()
	})
}

// waitForEnd waits for nothing but the end, as Await does.
func (w *simulation) waitForEnd(name string, call *Call) {
	for {
		e, ok := w.machine.NextEvent(w.now, call)
		if !ok {
			break
		}
		if e.Kind == follow.End {
			require.Nil(w.t, e.Err, name)
			w.ends++
			return
		}
		require.Equal(w.t, follow.Progress, e.Kind, name)
	}
	w.schedule(time.Millisecond+w.randomBelow(time.Second), func() { w.waitForEnd(name, call) })
}

// trouble has connections cut, foreign frames come, servers say goodbye and
// lose their memory.
func (w *simulation) injectFaults() {
	w.schedule(w.randomBelow(w.faultInterval), func() {
		if !w.faulty() {
			return
		}
		if c := w.machine.conn; c != nil {
			switch w.random.IntN(6) {
			case 0:
				w.machine.OnForeignFrame(w.now, c.gen)
			case 1:
				again := true
				w.toClient(c.gen, wire.ServerMessage{Type: wire.TypeClosing, Reason: "shutdown", Reconnect: &again, AfterMs: 2000})
				w.schedule(w.randomBelow(4*time.Second), func() { w.closeConn(c.gen, wire.CloseRestart) })
			case 2: // the server forgets; nothing is overtaken meanwhile
				if !w.lossy {
					w.server.resetCalls()
				}
				w.closeConn(c.gen, 0)
				for _, o := range w.machine.draining {
					w.closeConn(o.gen, 0)
				}
			default:
				w.closeConn(c.gen, 0)
			}
		}
		w.injectFaults()
	})
}
