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
type world struct {
	t      *testing.T
	rnd    *rand.Rand
	now    time.Duration
	calm   time.Duration // from when on the network behaves
	events queue
	n      int

	m      *Machine
	server *modelServer
	ends   int
	sent   int
	// unfair tells that frames may be lost, doubled and overtaken.
	unfair bool
	// temper is about how long no connection is troubled.
	temper time.Duration
	// fifo is when the last frame in each direction arrives.
	fifo map[string]time.Duration
}

type happening struct {
	at time.Duration
	n  int
	do func()
}

type queue []happening

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at || q[i].at == q[j].at && q[i].n < q[j].n }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(happening)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

func newWorld(t *testing.T, seed uint64, cfg Config) *world {
	w := &world{t: t, rnd: rand.New(rand.NewPCG(seed*0x9e3779b97f4a7c15, seed)), fifo: map[string]time.Duration{}}
	w.calm = 10*time.Second + w.upTo(2*time.Minute)
	w.temper = 4*time.Second + w.upTo(40*time.Second)
	w.unfair = seed%2 == 0
	w.server = &modelServer{
		w: w, calls: map[string]*modelCall{}, keys: map[string]string{}, subs: map[int]map[string]bool{}, runs: map[string]int{},
	}
	cfg.Jitter = w.upTo
	w.m = New(cfg)
	return w
}

func (w *world) chaos() bool { return w.now < w.calm }

func (w *world) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rnd.Int64N(int64(d)))
}

func (w *world) after(d time.Duration, do func()) {
	w.n++
	heap.Push(&w.events, happening{w.now + d, w.n, do})
}

// carry has a frame arrive: late, lost, twice or overtaken, as it happens.
func (w *world) carry(way string, do func()) {
	times := 1
	delay := w.upTo(5 * time.Millisecond)
	if w.chaos() && w.unfair {
		switch w.rnd.IntN(25) {
		case 0:
			times = 0
		case 1:
			times = 2
		case 2:
			delay = w.upTo(700 * time.Millisecond)
		}
	}
	for range times {
		if !w.unfair {
			delay = max(delay, w.fifo[way]-w.now)
			w.fifo[way] = w.now + delay
		}
		w.after(delay, do)
		delay += w.upTo(time.Second)
	}
}

func (w *world) toClient(conn int, m wire.ServerMessage) {
	frame := m.Append(nil)
	w.carry("down"+strconv.Itoa(conn), func() {
		msgs, err := wire.DecodeServerFrame(slices.Clone(frame))
		require.Nil(w.t, err)
		w.m.Received(w.now, conn, msgs)
	})
}

func (w *world) toServer(conn int, body []byte) {
	w.sent++
	items, _, err := wire.DecodeClientFrame(slices.Clone(body))
	require.Nil(w.t, err)
	require.Nil(w.t, items[0].Err, "%s", body)
	w.carry("up"+strconv.Itoa(conn), func() { w.server.take(conn, &items[0].Message) })
}

// cut ends a connection; the client learns of it a little later.
func (w *world) cut(conn, code int) {
	delete(w.server.subs, conn)
	w.after(w.upTo(time.Second), func() { w.m.Lost(w.now, conn, code) })
}

// outputs does what the machine asks for.
func (w *world) outputs() {
	for _, o := range w.m.Outputs() {
		switch o.Verb {
		case Send:
			w.toServer(o.Conn, o.Body)
		case Drop:
			delete(w.server.subs, o.Conn)
		case Dial:
			gen := o.Conn
			w.after(w.upTo(300*time.Millisecond), func() {
				if w.chaos() && w.rnd.IntN(4) == 0 {
					w.m.DialFailed(w.now, gen, fault(wire.CodeUnavailable, "no", false), false)
					return
				}
				w.server.subs[gen] = map[string]bool{}
				w.m.Opened(w.now, gen, never)
			})
		}
	}
}

// run goes on until all readers of the test have their end, and the client is
// done with their streams.
func (w *world) run(want int) {
	w.m.Start(w.now)
	w.outputs()
	for w.ends < want || len(w.m.streams) > 0 {
		next := w.m.Next()
		if len(w.events) > 0 && w.events[0].at <= next {
			e := heap.Pop(&w.events).(happening)
			w.now = max(w.now, e.at)
			e.do()
		} else {
			require.NotEqual(w.t, never, next, "nothing will ever happen again")
			w.now = max(w.now, next)
			w.m.Tick(w.now)
		}
		w.outputs()
		require.Less(w.t, w.now, 2*time.Hour, "%d of %d calls have ended", w.ends, want)
		require.Less(w.t, w.sent, 200_000, "too much is sent")
	}
}

// reader takes a call's events at its own pace and judges them.
type reader struct {
	w     *world
	name  string
	call  *Call
	slow  time.Duration
	list  []uint64
	last  uint64
	epoch int64
	over  bool
}

func (r *reader) fail(format string, args ...any) {
	r.w.t.Helper()
	require.FailNow(r.w.t, r.name+": "+fmt.Sprintf(format, args...))
}

// read takes some events now and more of them later.
func (r *reader) read() {
	require.Less(r.w.t, r.call.Reader.BufferSize(), 1000+21*(160+30), "the buffer is not bounded")
	for range 1 + r.w.rnd.IntN(8) {
		e, ok := r.w.m.Take(r.w.now, r.call)
		if !ok {
			break
		}
		r.judge(&e)
	}
	if !r.over {
		r.w.after(time.Millisecond+r.w.upTo(r.slow), r.read)
	}
}

func (r *reader) judge(e *follow.Event) {
	if r.over {
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
		if seq != e.Seq || e.Seq <= r.last || len(r.list) > 0 && epoch != r.epoch {
			r.fail("chunk %s as seq %d of epoch %d behind %d", text, e.Seq, r.epoch, r.last)
		}
		r.list, r.last, r.epoch = append(r.list, e.Seq), e.Seq, epoch
	case follow.AttemptMark:
		if e.Discarded > len(r.list) || e.Restart && e.Discarded != len(r.list) {
			r.fail("%d void of %d", e.Discarded, len(r.list))
		}
		r.list = r.list[:len(r.list)-e.Discarded]
		if r.last = e.Seq; e.Restart {
			r.last = 0
		}
	case follow.End:
		r.end(e)
	}
}

func (r *reader) end(e *follow.Event) {
	r.over = true
	r.w.ends++
	if e.Err != nil {
		r.fail("ended with %s: %s", e.Err.Code, e.Err.Message)
	}
	if e.Seq == 0 {
		if string(e.Data) != `"inline"` || len(r.list) > 0 {
			r.fail("inline end %s after %d chunks", e.Data, len(r.list))
		}
		return
	}
	want := r.w.server.calls[r.call.ID()].chunks()
	if !slices.Equal(r.list, want) || string(e.Data) != strconv.Itoa(len(want)) {
		r.fail("has %v, and the server %v; %s", r.list, want, e.Data)
	}
}
