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

// simulation is a client, an unreliable network and a model server, all on one
// clock that the test moves.
type simulation struct {
	t           *testing.T
	random      *rand.Rand
	now         time.Duration
	faultsUntil time.Duration // no faults from then on
	events      eventQueue
	scheduled   int

	machine *Machine
	server  *modelServer
	ends    int
	sent    int
	// lossy means that frames may be lost, duplicated and reordered.
	lossy bool
	// faultInterval is about how long it takes until the next fault of a
	// connection.
	faultInterval time.Duration
	// lastArrival is when the last frame in each direction arrives.
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
	s := &simulation{t: t, random: rand.New(rand.NewPCG(seed*0x9e3779b97f4a7c15, seed)), lastArrival: map[string]time.Duration{}}
	s.faultsUntil = 10*time.Second + s.randomBelow(2*time.Minute)
	s.faultInterval = 4*time.Second + s.randomBelow(40*time.Second)
	s.lossy = seed%2 == 0
	s.server = &modelServer{
		sim: s, calls: map[string]*modelCall{}, keyOwners: map[string]string{}, subs: map[int]map[string]bool{}, runs: map[string]int{},
	}
	cfg.Jitter = s.randomBelow
	s.machine = New(cfg)
	return s
}

func (s *simulation) faulty() bool { return s.now < s.faultsUntil }

func (s *simulation) randomBelow(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(s.random.Int64N(int64(d)))
}

func (s *simulation) schedule(d time.Duration, do func()) {
	s.scheduled++
	heap.Push(&s.events, simEvent{s.now + d, s.scheduled, do})
}

// deliver lets a frame arrive: delayed, and on a lossy network perhaps late,
// twice or not at all.
func (s *simulation) deliver(direction string, do func()) {
	times := 1
	delay := s.randomBelow(5 * time.Millisecond)
	if s.faulty() && s.lossy {
		switch s.random.IntN(25) {
		case 0:
			times = 0
		case 1:
			times = 2
		case 2:
			delay = s.randomBelow(700 * time.Millisecond)
		}
	}
	for range times {
		if !s.lossy {
			delay = max(delay, s.lastArrival[direction]-s.now)
			s.lastArrival[direction] = s.now + delay
		}
		s.schedule(delay, do)
		delay += s.randomBelow(time.Second)
	}
}

func (s *simulation) toClient(conn int, m wire.ServerMessage) {
	frame := m.Append(nil)
	s.deliver("down"+strconv.Itoa(conn), func() {
		msgs, err := wire.DecodeServerFrame(slices.Clone(frame))
		require.Nil(s.t, err)
		s.machine.Received(s.now, conn, msgs)
	})
}

func (s *simulation) toServer(conn int, body []byte) {
	s.sent++
	items, _, err := wire.DecodeClientFrame(slices.Clone(body))
	require.Nil(s.t, err)
	require.Nil(s.t, items[0].Err, "%s", body)
	s.deliver("up"+strconv.Itoa(conn), func() { s.server.handle(conn, &items[0].Message) })
}

// closeConn ends a connection; the client learns of it a little later.
func (s *simulation) closeConn(conn, code int) {
	delete(s.server.subs, conn)
	s.schedule(s.randomBelow(time.Second), func() { s.machine.ConnLost(s.now, conn, code) })
}

// applyOutputs does what the machine asks for.
func (s *simulation) applyOutputs() {
	for _, o := range s.machine.Outputs() {
		switch o.Verb {
		case Send:
			s.toServer(o.Conn, o.Body)
		case CloseConn:
			delete(s.server.subs, o.Conn)
		case Dial:
			gen := o.Conn
			s.schedule(s.randomBelow(300*time.Millisecond), func() {
				if s.faulty() && s.random.IntN(4) == 0 {
					s.machine.DialFailed(s.now, gen, localError(wire.CodeUnavailable, "no", false), false)
					return
				}
				s.server.subs[gen] = map[string]bool{}
				s.machine.Opened(s.now, gen, noDeadline)
			})
		}
	}
}

// run runs the simulation until all readers of the test have their end and the
// client has no streams.
func (s *simulation) run(want int) {
	s.machine.Start(s.now)
	s.applyOutputs()
	for s.ends < want || len(s.machine.streams) > 0 {
		next := s.machine.NextDeadline()
		if len(s.events) > 0 && s.events[0].at <= next {
			e := heap.Pop(&s.events).(simEvent)
			s.now = max(s.now, e.at)
			e.run()
		} else {
			require.NotEqual(s.t, noDeadline, next, "nothing is scheduled any more")
			s.now = max(s.now, next)
			s.machine.RunTimers(s.now)
		}
		s.applyOutputs()
		require.Less(s.t, s.now, 2*time.Hour, "%d of %d calls have ended", s.ends, want)
		require.Less(s.t, s.sent, 200_000, "too many messages were sent")
	}
}

// simReader reads the events of a call slowly and checks them.
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

func (r *simReader) failNow(format string, args ...any) {
	r.sim.t.Helper()
	require.FailNow(r.sim.t, r.name+": "+fmt.Sprintf(format, args...))
}

// readSome reads some events now and schedules the next ones.
func (r *simReader) readSome() {
	require.Less(r.sim.t, r.call.Reader.BufferSize(), 1000+21*(160+30), "the buffer is too large")
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
		r.failNow("an event after the end")
	}
	switch e.Kind {
	case follow.Chunk:
		var text string
		if json.Unmarshal(e.Data, &text) != nil {
			r.failNow("broken data %q", e.Data)
		}
		var epoch int64
		var seq uint64
		_, _ = fmt.Sscanf(text, "%d.%d", &epoch, &seq)
		if seq != e.Seq || e.Seq <= r.last || len(r.chunks) > 0 && epoch != r.epoch {
			r.failNow("chunk %s as seq %d of epoch %d after %d", text, e.Seq, r.epoch, r.last)
		}
		r.chunks, r.last, r.epoch = append(r.chunks, e.Seq), e.Seq, epoch
	case follow.AttemptMark:
		if e.Discarded > len(r.chunks) || e.Restart && e.Discarded != len(r.chunks) {
			r.failNow("%d discarded of %d", e.Discarded, len(r.chunks))
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
		r.failNow("ended with %s: %s", e.Err.Code, e.Err.Message)
	}
	if e.Seq == 0 {
		if string(e.Data) != `"inline"` || len(r.chunks) > 0 {
			r.failNow("inline end %s after %d chunks", e.Data, len(r.chunks))
		}
		return
	}
	want := r.sim.server.calls[r.call.ID()].chunks()
	if !slices.Equal(r.chunks, want) || string(e.Data) != strconv.Itoa(len(want)) {
		r.failNow("has %v, and the server %v; %s", r.chunks, want, e.Data)
	}
}
