package session

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

// world is a client, a network that does what it likes, and a model server,
// all on one clock that the test moves.
type simulation struct {
	t           *testing.T
	random      *rand.Rand
	now         time.Duration
	faultsUntil time.Duration // from when on the network behaves
	events      eventQueue
	scheduled   int

	machine *Machine
	server  *modelServer
	ends    int
	sent    int
	// unfair tells that frames may be lost, doubled and overtaken.
	lossy bool
	// temper is about how long no connection is troubled.
	faultInterval time.Duration
	// fifo is when the last frame in each direction arrives.
	lastArrival map[string]time.Duration
}

type simEvent struct {
	at    time.Duration
	order int
	run   func()
}

type eventQueue []simEvent

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(simEvent)) }
func (q *eventQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

func newSimulation(t *testing.T, seed uint64, cfg Config) *simulation {
	w := &simulation{t: t, random: rand.New(rand.NewPCG(seed*0x9e3779b97f4a7c15, seed)), lastArrival: map[string]time.Duration{}}
	w.faultsUntil = 10*time.Second + w.randomBelow(2*time.Minute)
	w.faultInterval = 4*time.Second + w.randomBelow(40*time.Second)
	w.lossy = seed%2 == 0
	w.server = &modelServer{
		sim: w, calls: map[string]*modelCall{}, keyOwners: map[string]string{}, subs: map[int]map[string]bool{}, runs: map[string]int{},
	}
	cfg.Jitter = w.randomBelow
	w.machine = New(cfg)
	return w
}

func (w *simulation) faulty() bool { return w.now < w.faultsUntil }

func (w *simulation) randomBelow(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.random.Int64N(int64(d)))
}

func (w *simulation) schedule(d time.Duration, do func()) {
	w.scheduled++
	heap.Push(&w.events, simEvent{w.now + d, w.scheduled, do})
}

// carry has a frame arrive: late, lost, twice or overtaken, as it happens.
func (w *simulation) deliver(way string, do func()) {
	times := 1
	delay := w.randomBelow(5 * time.Millisecond)
	if w.faulty() && w.lossy {
		switch w.random.IntN(25) {
		case 0:
			times = 0
		case 1:
			times = 2
		case 2:
			delay = w.randomBelow(700 * time.Millisecond)
		}
	}
	for range times {
		if !w.lossy {
			delay = max(delay, w.lastArrival[way]-w.now)
			w.lastArrival[way] = w.now + delay
		}
		w.schedule(delay, do)
		delay += w.randomBelow(time.Second)
	}
}

func (w *simulation) toClient(conn int, m wire.ServerMessage) {
	frame := m.Append(nil)
	w.deliver("down"+strconv.Itoa(conn), func() {
		msgs, err := wire.DecodeServerFrame(slices.Clone(frame))
		require.Nil(w.t, err)
		w.machine.Received(w.now, conn, msgs)
	})
}

func (w *simulation) toServer(conn int, body []byte) {
	w.sent++
	items, _, err := wire.DecodeClientFrame(slices.Clone(body))
	require.Nil(w.t, err)
	require.Nil(w.t, items[0].Err, "%s", body)
	w.deliver("up"+strconv.Itoa(conn), func() { w.server.handle(conn, &items[0].Message) })
}

// cut ends a connection; the client learns of it a little later.
func (w *simulation) closeConn(conn, code int) {
	delete(w.server.subs, conn)
	w.schedule(w.randomBelow(time.Second), func() { w.machine.ConnLost(w.now, conn, code) })
}

// outputs does what the machine asks for.
func (w *simulation) applyOutputs() {
	for _, o := range w.machine.Outputs() {
		switch o.Verb {
		case Send:
			w.toServer(o.Conn, o.Body)
		case CloseConn:
			delete(w.server.subs, o.Conn)
		case Dial:
			gen := o.Conn
			w.schedule(w.randomBelow(300*time.Millisecond), func() {
				if w.faulty() && w.random.IntN(4) == 0 {
					w.machine.DialFailed(w.now, gen, localError(wire.CodeUnavailable, "no", false), false)
					return
				}
				w.server.subs[gen] = map[string]bool{}
				w.machine.Opened(w.now, gen, noDeadline)
			})
		}
	}
}

// run goes on until all readers of the test have their end, and the client is
// done with their streams.
func (w *simulation) run(want int) {
	w.machine.Start(w.now)
	w.applyOutputs()
	for w.ends < want || len(w.machine.streams) > 0 {
		next := w.machine.NextDeadline()
		if len(w.events) > 0 && w.events[0].at <= next {
			e := heap.Pop(&w.events).(simEvent)
			w.now = max(w.now, e.at)
			e.run()
		} else {
			require.NotEqual(w.t, noDeadline, next, "nothing will ever happen again")
			w.now = max(w.now, next)
			w.machine.RunTimers(w.now)
		}
		w.applyOutputs()
		require.Less(w.t, w.now, 2*time.Hour, "%d of %d calls have ended", w.ends, want)
		require.Less(w.t, w.sent, 200_000, "too much is sent")
	}
}

// reader takes a call's events at its own pace and judges them.
type simReader struct {
	sim      *simulation
	name     string
	call     *Call
	maxPause time.Duration
	chunks   []uint64
	last     uint64
	epoch    int64
	ended    bool
}

func (r *simReader) fail(format string, args ...any) {
	r.sim.t.Helper()
	require.FailNow(r.sim.t, r.name+": "+fmt.Sprintf(format, args...))
}

// read takes some events now and more of them later.
func (r *simReader) readSome() {
	require.Less(r.sim.t, r.call.Reader.BufferSize(), 1000+21*(160+30), "the buffer is not bounded")
	for range 1 + r.sim.random.IntN(8) {
		e, ok := r.sim.machine.NextEvent(r.sim.now, r.call)
		if !ok {
			break
		}
		r.check(&e)
	}
	if !r.ended {
		r.sim.schedule(time.Millisecond+r.sim.randomBelow(r.maxPause), r.readSome)
	}
}

func (r *simReader) check(e *follow.Event) {
	if r.ended {
		r.fail("an event after the end")
	}
	switch e.Kind {
	case follow.Chunk:
		var text string
		if json.Unmarshal(e.Data, &text) != nil {
			r.fail("broken data %q", e.Data)
		}
		var epoch int64
		var seq uint64
		_, _ = fmt.Sscanf(text, "%d.%d", &epoch, &seq)
		if seq != e.Seq || e.Seq <= r.last || len(r.chunks) > 0 && epoch != r.epoch {
			r.fail("chunk %s as seq %d of epoch %d behind %d", text, e.Seq, r.epoch, r.last)
		}
		r.chunks, r.last, r.epoch = append(r.chunks, e.Seq), e.Seq, epoch
	case follow.AttemptMark:
		if e.Discarded > len(r.chunks) || e.Restart && e.Discarded != len(r.chunks) {
			r.fail("%d void of %d", e.Discarded, len(r.chunks))
		}
		r.chunks = r.chunks[:len(r.chunks)-e.Discarded]
		if r.last = e.Seq; e.Restart {
			r.last = 0
		}
	case follow.End:
		r.checkEnd(e)
	}
}

func (r *simReader) checkEnd(e *follow.Event) {
	r.ended = true
	r.sim.ends++
	if e.Err != nil {
		r.fail("ended with %s: %s", e.Err.Code, e.Err.Message)
	}
	if e.Seq == 0 {
		if string(e.Data) != `"inline"` || len(r.chunks) > 0 {
			r.fail("inline end %s after %d chunks", e.Data, len(r.chunks))
		}
		return
	}
	want := r.sim.server.calls[r.call.ID()].chunks()
	if !slices.Equal(r.chunks, want) || string(e.Data) != strconv.Itoa(len(want)) {
		r.fail("has %v, and the server %v; %s", r.chunks, want, e.Data)
	}
}
