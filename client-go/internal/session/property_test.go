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
	worlds = flag.Int("worlds", 300, "how many random worlds to try")
	first  = flag.Uint64("first", 1, "the seed of the first world")
)

// TestReaderSeesWhatTheServerHas is the property that matters: whatever the
// network does, a reader gets no gap, no double, no wrong order and no wrong
// count of void chunks, and always gets its end, once.
func TestReaderSeesWhatTheServerHas(t *testing.T) {
	n := *worlds
	if testing.Short() {
		n = 50
	}
	for seed := *first; seed < *first+uint64(n); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { playWorld(t, seed) })
	}
}

func playWorld(t *testing.T, seed uint64) {
	timing := Timing{Ping: 5 * time.Second}
	if seed%4 < 2 {
		timing.Life, timing.LifeSpread = 20*time.Second, 10*time.Second
	}
	w := newWorld(t, seed, Config{Buffer: 1000, MaxCalls: 1000, Timing: timing})
	calls := 1 + w.rnd.IntN(5)
	readers := 0
	for i := range calls {
		id := wire.NewIDAt(time.UnixMilli(int64(i)))
		readers += w.begin(i, id)
	}
	w.trouble()
	w.run(readers)
	require.Empty(t, w.m.streams, "streams are left")
	require.Zero(t, w.m.calls)
}

// begin has a call started, and perhaps followed by others, at random moments.
// It returns how many readers there will be.
func (w *world) begin(i int, id string) (readers int) {
	action := "a"
	if w.rnd.IntN(6) == 0 {
		action = "inline"
	}
	start := func(name, id string, skip bool) {
		readers++
		w.after(w.upTo(5*time.Second), func() {
			c := wire.ClientMessage{Type: wire.TypeRequest, ID: id, Action: action}
			call, err := w.m.Submit(w.now, &Request{ID: id, Body: c.Append(nil), Skip: skip, Pausable: i%2 == 0})
			require.Nil(w.t, err)
			w.use(name, call, skip)
		})
	}
	start(fmt.Sprintf("call %d", i), id, w.rnd.IntN(5) == 0)
	if action == "inline" {
		return readers
	}
	switch w.rnd.IntN(5) {
	case 0: // attached to, as soon as the server has it
		readers++
		w.whenKnown(id, func() {
			call, err := w.m.Attach(w.now, id, false)
			require.Nil(w.t, err)
			w.use(fmt.Sprintf("call %d, attached", i), call, false)
		})
	case 1: // followed and left, and followed again
		w.whenKnown(id, func() {
			call, err := w.m.Attach(w.now, id, false)
			require.Nil(w.t, err)
			w.after(w.upTo(4*time.Second), func() { w.m.Detach(w.now, call) })
		})
	case 2: // the same id once more
		start(fmt.Sprintf("call %d, double", i), id, false)
	case 3: // another id with the same key
		other := wire.NewIDAt(time.UnixMilli(int64(1000 + i)))
		w.server.keys[other] = id
		start(fmt.Sprintf("call %d, by key", i), other, false)
	}
	return readers
}

// use reads a call in one of the ways in which it can be read.
func (w *world) use(name string, call *Call, skip bool) {
	r := &reader{w: w, name: name, call: call, slow: time.Duration(1+w.rnd.IntN(1000)) * time.Millisecond}
	switch {
	case skip:
		w.after(0, func() { w.waitForEnd(name, call) })
	case w.rnd.IntN(4) == 0: // first the end, then the events
		w.m.Hurry(w.now, call)
		w.whenEnded(call, func() {
			w.m.Read(w.now, call, true)
			r.read()
		})
	default:
		w.m.Read(w.now, call, true)
		r.read()
	}
}

// whenKnown does something once the server has the call.
func (w *world) whenKnown(id string, do func()) {
	w.after(w.upTo(3*time.Second), func() {
		if w.server.calls[id] == nil {
			w.whenKnown(id, do)
			return
		}
		do()
	})
}

// whenEnded does something once the call's end is known.
func (w *world) whenEnded(call *Call, do func()) {
	w.after(w.upTo(time.Second), func() {
		if call.Reader.End() == nil {
			w.whenEnded(call, do)
			return
		}
		require.Nil(w.t, call.Reader.End().Err)
		do()
	})
}

// waitForEnd waits for nothing but the end, as Await does.
func (w *world) waitForEnd(name string, call *Call) {
	for {
		e, ok := w.m.Take(w.now, call)
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
	w.after(time.Millisecond+w.upTo(time.Second), func() { w.waitForEnd(name, call) })
}

// trouble has connections cut, foreign frames come, servers say goodbye and
// lose their memory.
func (w *world) trouble() {
	w.after(w.upTo(w.temper), func() {
		if !w.chaos() {
			return
		}
		if c := w.m.conn; c != nil {
			switch w.rnd.IntN(6) {
			case 0:
				w.m.Foreign(w.now, c.gen)
			case 1:
				again := true
				w.toClient(c.gen, wire.ServerMessage{Type: wire.TypeClosing, Reason: "shutdown", Reconnect: &again, AfterMs: 2000})
				w.after(w.upTo(4*time.Second), func() { w.cut(c.gen, wire.CloseRestart) })
			case 2: // the server forgets; nothing is overtaken meanwhile
				if !w.unfair {
					w.server.wipe()
				}
				w.cut(c.gen, 0)
				for _, o := range w.m.old {
					w.cut(o.gen, 0)
				}
			default:
				w.cut(c.gen, 0)
			}
		}
		w.trouble()
	})
}
