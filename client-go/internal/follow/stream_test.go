package follow

import (
	"fmt"
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// A play is a stream with one reader that is accepted, and a clock.
type play struct {
	t   *testing.T
	s   Stream
	r   *Reader
	now time.Duration
}

func newPlay(t *testing.T, limit int) *play { return playFor(t, NewReader(limit, false)) }

func playFor(t *testing.T, r *Reader) *play {
	p := &play{t: t, r: r, now: time.Second}
	p.s.Join(p.r)
	p.s.Ack(p.now, &wire.ServerMessage{Type: wire.TypeAck, Seq: 1, Epoch: 5}, true)
	return p
}

func chunk(seq uint64) wire.ServerMessage {
	return wire.ServerMessage{Type: wire.TypeChunk, Seq: seq, Attempt: 1, Data: fmt.Append(nil, seq)}
}

func mark(seq, keep, from uint64, attempt int) wire.ServerMessage {
	return wire.ServerMessage{Type: wire.TypeAttempt, Seq: seq, Keep: keep, From: from, Attempt: attempt, Code: wire.CodeWorkerLost}
}

func result(seq uint64) wire.ServerMessage {
	return wire.ServerMessage{Type: wire.TypeResult, Seq: seq, Payload: []byte(`1`)}
}

// come has live events come.
func (p *play) come(msgs ...wire.ServerMessage) {
	for i := range msgs {
		p.s.Event(p.now, &msgs[i], true)
	}
}

// page has the answer to a subscribe come.
func (p *play) page(epoch int64, lastSeq uint64, more bool, events ...wire.ServerMessage) {
	p.s.Page(p.now, &wire.ServerMessage{
		Type: wire.TypeSnapshot, Epoch: epoch, Status: "running", Attempt: 1, LastSeq: lastSeq, More: &more, Events: events,
	}, true, true)
}

// takes takes all that waits and describes it.
func (p *play) takes(want ...string) {
	p.t.Helper()
	var got []string
	for {
		e, ok := p.r.Take()
		if !ok {
			break
		}
		switch e.Kind {
		case Chunk:
			got = append(got, fmt.Sprint("c", e.Seq))
		case Mark:
			text := fmt.Sprint("m", e.Seq, "/", e.Void)
			if e.Restart {
				text = fmt.Sprint("restart/", e.Void)
			}
			got = append(got, text)
		case Progress:
			got = append(got, fmt.Sprint("p", e.Progress.Attempt, ".", e.Progress.Rev))
		case End:
			text := "end"
			if e.Err != nil {
				text = e.Err.Code
			}
			got = append(got, text)
		}
	}
	require.Equal(p.t, want, got)
}

func (p *play) wants(verb Verb, after uint64) {
	p.t.Helper()
	w := p.s.Want(p.now)
	require.Equal(p.t, verb, w.Verb)
	if verb == Subscribe {
		require.Equal(p.t, Want{Subscribe, after, 5}, w)
		require.LessOrEqual(p.t, p.s.Deadline(p.now), p.now)
	}
}

func TestOrder(t *testing.T) {
	p := newPlay(t, 10_000)
	p.come(chunk(2), chunk(2), chunk(4), chunk(1), chunk(3), chunk(4), result(5), result(5))
	p.takes("c2", "c3", "c4", "end")
	require.True(t, p.r.Over())
	p.wants(Nothing, 0)
	require.Equal(t, Never, p.s.Deadline(p.now))
	require.Equal(t, "succeeded", p.s.State.Status)
}

func TestHoleIsPulledAfter250ms(t *testing.T) {
	p := newPlay(t, 10_000)
	p.come(chunk(3), chunk(5))
	p.wants(Nothing, 0)
	require.Equal(t, p.now+250*ms, p.s.Deadline(p.now))
	p.now += 250*ms - 1
	p.wants(Nothing, 0)
	p.now++
	p.wants(Subscribe, 1)
	p.come(chunk(2)) // at last; but 4 is missing since then
	p.takes("c2", "c3")
	p.wants(Nothing, 0)
	p.now += 250 * ms
	p.wants(Subscribe, 3)
	p.page(5, 5, false, chunk(4), chunk(5))
	p.takes("c4", "c5")
	p.wants(Nothing, 0)
}

func TestFarHoleIsPulledAtOnce(t *testing.T) {
	p := newPlay(t, 100_000)
	p.come(chunk(1 + 64))
	p.wants(Nothing, 0)
	p.come(chunk(1 + 65))
	p.wants(Subscribe, 1)
}

func TestHeldEventsAreBounded(t *testing.T) {
	p := newPlay(t, 1000)
	for seq := uint64(3); seq < 40; seq++ {
		p.come(chunk(seq))
	}
	require.LessOrEqual(t, p.r.heldCost, 1000+overhead+8)
	p.wants(Subscribe, 1)
}

func TestMarks(t *testing.T) {
	p := newPlay(t, 10_000)
	p.come(chunk(2), chunk(3), chunk(4))
	p.takes("c2", "c3", "c4")
	p.come(mark(5, 3, 5, 2)) // a checkpoint after 3
	p.takes("m5/1")
	p.come(chunk(6), chunk(7))
	p.takes("c6", "c7")
	p.come(chunk(8), mark(9, 3, 4, 3)) // 8 was not taken yet: it is never seen
	p.takes("m9/2")
	p.come(chunk(10), mark(11, 10, 11, 4))
	p.takes("c10", "m11/0")
	require.Equal(t, 3, p.r.tally.total()) // 2, 3 and 10
}

func TestMarkStandsForWhatIsVoid(t *testing.T) {
	p := newPlay(t, 10_000)
	p.come(chunk(2), chunk(3))
	p.takes("c2", "c3")
	p.come(mark(9, 2, 5, 3)) // from 5: 4 is missing
	p.wants(Nothing, 0)
	p.now += 250 * ms
	p.wants(Subscribe, 3)
	p.page(5, 10, false, mark(9, 2, 3, 3), chunk(10)) // from 3: it stands for all since then
	p.takes("m9/1", "c10")
	p.come(mark(9, 2, 3, 3))
	p.takes()
}

func TestProgress(t *testing.T) {
	p := newPlay(t, 10_000)
	say := func(attempt int, rev uint64) { p.s.Report(p.now, &wire.Progress{Attempt: attempt, Rev: rev}) }
	say(1, 2)
	say(1, 1)
	say(1, 2)
	p.takes("p1.2")
	p.come(chunk(2))
	say(1, 3)
	say(1, 4)
	p.takes("p1.4", "c2")
	say(1, 5)
	p.come(mark(3, 1, 3, 2))
	p.takes("p1.5", "m3/1")
	p.come(chunk(4), mark(5, 1, 5, 3))
	say(3, 1)
	p.takes("m5/0", "p3.1") // not before the attempt that it belongs to
	say(2, 9)
	p.come(result(6))
	say(3, 2)
	p.takes("end")
	newest, ok := p.r.Progress()
	require.True(t, ok)
	require.EqualValues(t, 1, newest.Rev)
}

func TestSlowReaderIsPausedAndPulls(t *testing.T) {
	p := newPlay(t, 3*overhead)
	p.s.Pausable = true
	p.come(chunk(2), chunk(3), chunk(4), chunk(5))
	p.wants(Unsubscribe, 0)
	p.s.Pausable = false
	p.wants(Nothing, 0) // its end may depend on somebody following it
	p.s.Stopped()
	p.takes("c2", "c3", "c4")
	p.wants(Subscribe, 4)
	p.page(5, 9, true, chunk(5), chunk(6), chunk(7), chunk(8)) // a page is taken whole
	p.wants(Nothing, 0)
	p.takes("c5", "c6", "c7", "c8")
	p.wants(Subscribe, 8)
	p.page(5, 9, false, result(9))
	p.takes("end")
}

func TestQuietIsAskedAbout(t *testing.T) {
	p := newPlay(t, 10_000)
	for _, wait := range []time.Duration{30, 60, 120, 240, 300, 300} {
		require.Equal(t, p.now+wait*time.Second, p.s.Deadline(p.now))
		p.now += wait*time.Second - 1
		p.wants(Nothing, 0)
		p.now++
		w := p.s.Want(p.now)
		require.Equal(t, Want{Subscribe, 1, 5}, w)
		p.s.Asked(p.now, w)
		p.page(5, 1, false)
	}
	p.come(chunk(2)) // it lives: 30 s again
	require.Equal(t, p.now+30*time.Second, p.s.Deadline(p.now))
}

func TestAnotherHistory(t *testing.T) {
	p := newPlay(t, 10_000)
	p.come(chunk(2), chunk(3))
	p.takes("c2", "c3")
	p.come(chunk(4)) // not taken when the history changes
	p.s.Cut()
	p.wants(Subscribe, 4)
	late := result(5)
	p.s.Event(p.now, &late, false) // overtakes the page, and may be of either
	p.page(6, 2, false, wire.ServerMessage{Type: wire.TypeAck, Seq: 1, Epoch: 6}, chunk(2))
	p.takes("restart/2", "c2")
	require.EqualValues(t, 6, p.s.Epoch())
	p.come(chunk(3), result(4))
	p.takes("c3", "end")
}

func TestHistoryThatLostItsEnd(t *testing.T) {
	p := newPlay(t, 10_000)
	p.come(chunk(2), chunk(3))
	p.takes("c2", "c3")
	more := false
	p.s.Page(p.now, &wire.ServerMessage{
		Type: wire.TypeSnapshot, Epoch: 5, Recovered: new(bool), Status: "running", Attempt: 1, LastSeq: 2, More: &more,
		Events: []wire.ServerMessage{{Type: wire.TypeAck, Seq: 1, Epoch: 5}, chunk(2)},
	}, true, true)
	p.takes("restart/2", "c2")
	require.EqualValues(t, 2, p.s.State.LastSeq)
	p.wants(Nothing, 0)
}

func TestLatePagesDoNoHarm(t *testing.T) {
	p := newPlay(t, 10_000)
	p.come(chunk(2), chunk(3))
	more, less := true, false
	p.s.Page(p.now, &wire.ServerMessage{Epoch: 5, LastSeq: 3, More: &less, Events: []wire.ServerMessage{chunk(2)}}, false, true)
	p.wants(Nothing, 0)
	p.s.Page(p.now, &wire.ServerMessage{Epoch: 4, LastSeq: 9, More: &less}, false, true)
	require.EqualValues(t, 5, p.s.Epoch())
	p.wants(Subscribe, 3) // who knows
	p.page(5, 3, false)
	p.wants(Nothing, 0)
	p.s.Page(p.now, &wire.ServerMessage{Epoch: 5, LastSeq: 3, More: &more}, false, true)
	p.wants(Subscribe, 3) // it ended the liveness
	p.takes("c2", "c3")
}

func TestTwoReaders(t *testing.T) {
	p := newPlay(t, 10_000)
	p.come(chunk(2), chunk(3))
	second := NewReader(10_000, false)
	p.s.Join(second)
	p.wants(Subscribe, 0)
	p.page(5, 3, true, wire.ServerMessage{Type: wire.TypeAck, Seq: 1}, chunk(2))
	p.wants(Subscribe, 2)
	p.page(5, 3, false, chunk(3))
	p.wants(Nothing, 0)
	p.come(result(4))
	p.takes("c2", "c3", "end")
	p.r = second
	p.takes("c2", "c3", "end")
	p.s.Leave(second)
	p.s.Leave(second)
}

func TestOneSlowReaderDoesNotHoldUpAnother(t *testing.T) {
	p := newPlay(t, 10_000)
	slow := NewReader(overhead, false)
	p.s.Join(slow)
	p.page(5, 1, false, wire.ServerMessage{Type: wire.TypeAck, Seq: 1})
	for seq := uint64(2); seq < 20; seq++ {
		p.come(chunk(seq))
	}
	require.LessOrEqual(t, slow.Cost(), 2*overhead)
	p.wants(Nothing, 0)
	p.s.Lag(p.now, 25)
	p.wants(Subscribe, 19) // for the one that can take it
	p.page(5, 25, false, chunk(20), chunk(21), chunk(22), chunk(23), chunk(24), chunk(25))
	require.LessOrEqual(t, slow.Cost(), 2*overhead)
	p.wants(Nothing, 0)
}

func TestOnlyTheEndMatters(t *testing.T) {
	p := playFor(t, NewReader(1000, true))
	p.come(chunk(2), chunk(9), chunk(4))
	p.wants(Nothing, 0)
	require.Zero(t, p.r.Cost())
	p.come(result(30)) // whatever is missing
	p.takes("end")
	require.NotNil(t, p.r.End())
	require.True(t, p.r.Read(true), "a reader that comes now pulls all")
	require.NotNil(t, p.r.End(), "the end stays known")
	p.s.Cut()
	p.wants(Subscribe, 0)
}

func TestHurryEmptiesABufferThatNobodyReads(t *testing.T) {
	p := newPlay(t, 2*overhead)
	p.r.Read(true)
	p.come(chunk(2), chunk(3))
	p.r.Hurry()
	p.takes("c2", "c3") // somebody reads
	p.come(chunk(4), chunk(5), chunk(6))
	p.r.Read(false)
	require.Zero(t, p.r.Cost())
	p.come(result(9))
	require.NotNil(t, p.r.End())
	require.True(t, p.r.Read(true))
	p.s.Cut()
	p.wants(Subscribe, 3) // behind what was handed out
	p.page(5, 9, false, chunk(4), chunk(5), mark(6, 4, 6, 2), chunk(7), chunk(8), result(9))
	p.takes("c4", "m6/0", "c7", "c8", "end")
}

func TestFailedFromThisSide(t *testing.T) {
	p := newPlay(t, 1000)
	p.come(chunk(2))
	p.s.Fail(&wire.ServerMessage{Code: "gone"})
	p.s.Fail(&wire.ServerMessage{Code: "again"})
	p.come(chunk(3), result(4))
	p.takes("c2", "gone")
	require.False(t, p.r.Read(true))
}

func TestInlineEnd(t *testing.T) {
	var s Stream
	r := NewReader(1000, false)
	s.Join(r)
	s.Event(0, &wire.ServerMessage{Type: wire.TypeError, Code: "no", Details: []byte(`{}`)}, true)
	require.Equal(t, "no", r.End().Err.Code)
	require.True(t, s.Ended())
	require.Equal(t, "failed", s.State.Status)
	s.Event(0, &wire.ServerMessage{Type: wire.TypePong}, true)
}

func TestStateFollowsEvents(t *testing.T) {
	p := newPlay(t, 10_000)
	require.Equal(t, "queued", p.s.State.Status)
	p.come(chunk(2))
	require.Equal(t, State{Status: "running", Attempt: 1, LastSeq: 2}, p.s.State)
	p.come(mark(3, 1, 3, 2))
	require.Equal(t, 2, p.s.State.Attempt)
	more := false
	p.s.Page(p.now, &wire.ServerMessage{Epoch: 5, LastSeq: 3, Status: "queued", Attempt: 2, Due: 99, CancelRequested: true, More: &more}, true, true)
	require.Equal(t, State{Status: "queued", Attempt: 2, LastSeq: 3, Due: 99, CancelRequested: true}, p.s.State)
	end := wire.ServerMessage{Type: wire.TypeError, Code: wire.CodeCancelled, Seq: 4}
	p.come(end)
	require.Equal(t, "cancelled", p.s.State.Status)
	p.page(5, 4, false)
	require.Equal(t, "cancelled", p.s.State.Status)
}
