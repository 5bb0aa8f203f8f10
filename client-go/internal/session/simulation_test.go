package session

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
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
	events      []simEvent    // in the order in which they happen

	machine *Machine
	server  *modelServer
	readers int // how many there will be
	ends    int // how many of them have their end
	sent    int // messages to the server
	// lossy means that frames may be lost, duplicated and reordered.
	lossy bool
	// faultInterval is the longest time until the next fault of a connection.
	faultInterval time.Duration
	// lastArrival is when the last frame in each direction arrives.
	lastArrival map[string]time.Duration
}

type simEvent struct {
	at  time.Duration
	run func()
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{t: t, random: rand.New(rand.NewPCG(seed*0x9e3779b97f4a7c15, seed)), lastArrival: map[string]time.Duration{}}
	s.faultsUntil = 10*time.Second + s.randomBelow(2*time.Minute)
	s.faultInterval = 4*time.Second + s.randomBelow(40*time.Second)
	s.lossy = seed%2 == 0
	s.server = &modelServer{
		sim: s, calls: map[string]*modelCall{}, keyOwners: map[string]string{}, subs: map[int]map[string]bool{},
	}
	timing := Timing{Ping: 5 * time.Second}
	if seed%4 < 2 {
		timing.MaxAge, timing.MaxAgeSpread = 20*time.Second, 10*time.Second
	}
	s.machine = New(Config{Buffer: 1000, MaxCalls: 1000, Timing: timing, Jitter: s.randomBelow})
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
	at := s.now + d
	i := sort.Search(len(s.events), func(i int) bool { return s.events[i].at > at })
	s.events = slices.Insert(s.events, i, simEvent{at, do})
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
					s.machine.DialFailed(s.now, gen, localError(wire.CodeUnavailable, "no", false))
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
func (s *simulation) run() {
	s.machine.Start(s.now)
	s.applyOutputs()
	for s.ends < s.readers || len(s.machine.streams) > 0 {
		next := s.machine.NextDeadline()
		if len(s.events) > 0 && s.events[0].at <= next {
			e := s.events[0]
			s.events = s.events[1:]
			s.now = max(s.now, e.at)
			e.run()
		} else {
			require.NotEqual(s.t, noDeadline, next, "nothing is scheduled any more")
			s.now = max(s.now, next)
			s.machine.RunTimers(s.now)
		}
		s.applyOutputs()
		require.Less(s.t, s.now, 2*time.Hour, "%d of %d readers have their end", s.ends, s.readers)
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
	t := r.sim.t
	require.False(t, r.ended, "%s: an event after the end", r.name)
	switch e.Kind {
	case follow.Chunk:
		var text string
		require.NoError(t, json.Unmarshal(e.Data, &text), "%s: %s", r.name, e.Data)
		var epoch int64
		var seq uint64
		_, _ = fmt.Sscanf(text, "%d.%d", &epoch, &seq)
		if seq != e.Seq || e.Seq <= r.last || len(r.chunks) > 0 && epoch != r.epoch {
			require.FailNow(t, "wrong chunk", "%s: chunk %s as seq %d of epoch %d after %d", r.name, text, e.Seq, r.epoch, r.last)
		}
		r.chunks, r.last, r.epoch = append(r.chunks, e.Seq), e.Seq, epoch
	case follow.AttemptMark:
		kept := len(r.chunks) - e.Discarded
		require.GreaterOrEqual(t, kept, 0, r.name)
		r.chunks, r.last = r.chunks[:kept], e.Seq
		if e.Restart {
			require.Empty(t, r.chunks, r.name)
			r.last = 0
		}
	case follow.End:
		r.ended = true
		r.sim.ends++
		require.Nil(t, e.Err, r.name)
		if e.Seq == 0 {
			require.Equal(t, `"inline"`, string(e.Data), r.name)
			require.Empty(t, r.chunks, r.name)
			return
		}
		want := r.sim.server.calls[r.call.ID()].chunks()
		require.True(t, slices.Equal(want, r.chunks), "%s: has %v, and the server %v", r.name, r.chunks, want)
		require.Equal(t, strconv.Itoa(len(want)), string(e.Data), r.name)
	}
}
