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
type fixture struct {
	t      *testing.T
	stream Stream
	reader *Reader
	now    time.Duration
}

func newFixture(t *testing.T, limit int) *fixture { return newFixtureFor(t, NewReader(limit, false)) }

func newFixtureFor(t *testing.T, r *Reader) *fixture {
	p := &fixture{t: t, reader: r, now: time.Second}
	p.stream.AddReader(p.reader)
	p.stream.OnAck(p.now, &wire.ServerMessage{Type: wire.TypeAck, Seq: 1, Epoch: 5}, true)
	return p
}

func chunkMsg(seq uint64) wire.ServerMessage {
	return wire.ServerMessage{Type: wire.TypeChunk, Seq: seq, Attempt: 1, Data: fmt.Append(nil, seq)}
}

func attemptMsg(seq, keep, from uint64, attempt int) wire.ServerMessage {
	return wire.ServerMessage{Type: wire.TypeAttempt, Seq: seq, Keep: keep, From: from, Attempt: attempt, Code: wire.CodeWorkerLost}
}

func resultMsg(seq uint64) wire.ServerMessage {
	return wire.ServerMessage{Type: wire.TypeResult, Seq: seq, Payload: []byte(`1`)}
}

// come has live events come.
func (p *fixture) receive(msgs ...wire.ServerMessage) {
	for i := range msgs {
		p.stream.OnEvent(p.now, &msgs[i], true)
	}
}

// page has the answer to a subscribe come.
func (p *fixture) receivePage(epoch int64, lastSeq uint64, more bool, events ...wire.ServerMessage) {
	p.stream.OnPage(p.now, &wire.ServerMessage{
		Type: wire.TypeSnapshot, Epoch: epoch, Status: "running", Attempt: 1, LastSeq: lastSeq, More: &more, Events: events,
	}, true, true)
}

// takes takes all that waits and describes it.
func (p *fixture) expectEvents(want ...string) {
	p.t.Helper()
	var got []string
	for {
		e, ok := p.reader.NextEvent()
		if !ok {
			break
		}
		switch e.Kind {
		case Chunk:
			got = append(got, fmt.Sprint("c", e.Seq))
		case AttemptMark:
			text := fmt.Sprint("m", e.Seq, "/", e.Discarded)
			if e.Restart {
				text = fmt.Sprint("restart/", e.Discarded)
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

func (p *fixture) expectCommand(verb Verb, after uint64) {
	p.t.Helper()
	w := p.stream.NextCommand(p.now)
	require.Equal(p.t, verb, w.Verb)
	if verb == Subscribe {
		require.Equal(p.t, Command{Subscribe, after, 5}, w)
		require.LessOrEqual(p.t, p.stream.Deadline(p.now), p.now)
	}
}

func TestEventsAreOrderedAndDeduplicated(t *testing.T) {
	p := newFixture(t, 10_000)
	p.receive(chunkMsg(2), chunkMsg(2), chunkMsg(4), chunkMsg(1), chunkMsg(3), chunkMsg(4), resultMsg(5), resultMsg(5))
	p.expectEvents("c2", "c3", "c4", "end")
	require.True(t, p.reader.EndTaken())
	p.expectCommand(Nothing, 0)
	require.Equal(t, NoDeadline, p.stream.Deadline(p.now))
	require.Equal(t, "succeeded", p.stream.State.Status)
}

func TestGapIsFetchedAfter250ms(t *testing.T) {
	p := newFixture(t, 10_000)
	p.receive(chunkMsg(3), chunkMsg(5))
	p.expectCommand(Nothing, 0)
	require.Equal(t, p.now+250*ms, p.stream.Deadline(p.now))
	p.now += 250*ms - 1
	p.expectCommand(Nothing, 0)
	p.now++
	p.expectCommand(Subscribe, 1)
	p.receive(chunkMsg(2)) // at last; but 4 is missing since then
	p.expectEvents("c2", "c3")
	p.expectCommand(Nothing, 0)
	p.now += 250 * ms
	p.expectCommand(Subscribe, 3)
	p.receivePage(5, 5, false, chunkMsg(4), chunkMsg(5))
	p.expectEvents("c4", "c5")
	p.expectCommand(Nothing, 0)
}

func TestLargeGapIsFetchedAtOnce(t *testing.T) {
	p := newFixture(t, 100_000)
	p.receive(chunkMsg(1 + 64))
	p.expectCommand(Nothing, 0)
	p.receive(chunkMsg(1 + 65))
	p.expectCommand(Subscribe, 1)
}

func TestEarlyEventsAreBounded(t *testing.T) {
	p := newFixture(t, 1000)
	for seq := uint64(3); seq < 40; seq++ {
		p.receive(chunkMsg(seq))
	}
	require.LessOrEqual(t, p.reader.earlySize, 1000+overhead+8)
	p.expectCommand(Subscribe, 1)
}

func TestAttemptCountsDiscardedChunks(t *testing.T) {
	p := newFixture(t, 10_000)
	p.receive(chunkMsg(2), chunkMsg(3), chunkMsg(4))
	p.expectEvents("c2", "c3", "c4")
	p.receive(attemptMsg(5, 3, 5, 2)) // a checkpoint after 3
	p.expectEvents("m5/1")
	p.receive(chunkMsg(6), chunkMsg(7))
	p.expectEvents("c6", "c7")
	p.receive(chunkMsg(8), attemptMsg(9, 3, 4, 3)) // 8 was not taken yet: it is never seen
	p.expectEvents("m9/2")
	p.receive(chunkMsg(10), attemptMsg(11, 10, 11, 4))
	p.expectEvents("c10", "m11/0")
	require.Equal(t, 3, p.reader.chunks.total()) // 2, 3 and 10
}

func TestAttemptCoversDiscardedRange(t *testing.T) {
	p := newFixture(t, 10_000)
	p.receive(chunkMsg(2), chunkMsg(3))
	p.expectEvents("c2", "c3")
	p.receive(attemptMsg(9, 2, 5, 3)) // from 5: 4 is missing
	p.expectCommand(Nothing, 0)
	p.now += 250 * ms
	p.expectCommand(Subscribe, 3)
	p.receivePage(5, 10, false, attemptMsg(9, 2, 3, 3), chunkMsg(10)) // from 3: it stands for all since then
	p.expectEvents("m9/1", "c10")
	p.receive(attemptMsg(9, 2, 3, 3))
	p.expectEvents()
}

func TestProgress(t *testing.T) {
	p := newFixture(t, 10_000)
	say := func(attempt int, rev uint64) { p.stream.OnProgress(p.now, &wire.Progress{Attempt: attempt, Rev: rev}) }
	say(1, 2)
	say(1, 1)
	say(1, 2)
	p.expectEvents("p1.2")
	p.receive(chunkMsg(2))
	say(1, 3)
	say(1, 4)
	p.expectEvents("p1.4", "c2")
	say(1, 5)
	p.receive(attemptMsg(3, 1, 3, 2))
	p.expectEvents("p1.5", "m3/1")
	p.receive(chunkMsg(4), attemptMsg(5, 1, 5, 3))
	say(3, 1)
	p.expectEvents("m5/0", "p3.1") // not before the attempt that it belongs to
	say(2, 9)
	p.receive(resultMsg(6))
	say(3, 2)
	p.expectEvents("end")
	newest, ok := p.reader.Progress()
	require.True(t, ok)
	require.EqualValues(t, 1, newest.Rev)
}

func TestSlowReaderUnsubscribesAndFetchesLater(t *testing.T) {
	p := newFixture(t, 3*overhead)
	p.stream.Pausable = true
	p.receive(chunkMsg(2), chunkMsg(3), chunkMsg(4), chunkMsg(5))
	p.expectCommand(Unsubscribe, 0)
	p.stream.Pausable = false
	p.expectCommand(Nothing, 0) // its end may depend on somebody following it
	p.stream.OnUnsubscribed()
	p.expectEvents("c2", "c3", "c4")
	p.expectCommand(Subscribe, 4)
	p.receivePage(5, 9, true, chunkMsg(5), chunkMsg(6), chunkMsg(7), chunkMsg(8)) // a page is taken whole
	p.expectCommand(Nothing, 0)
	p.expectEvents("c5", "c6", "c7", "c8")
	p.expectCommand(Subscribe, 8)
	p.receivePage(5, 9, false, resultMsg(9))
	p.expectEvents("end")
}

func TestSilenceIsCheckedBySubscribing(t *testing.T) {
	p := newFixture(t, 10_000)
	for _, wait := range []time.Duration{30, 60, 120, 240, 300, 300} {
		require.Equal(t, p.now+wait*time.Second, p.stream.Deadline(p.now))
		p.now += wait*time.Second - 1
		p.expectCommand(Nothing, 0)
		p.now++
		w := p.stream.NextCommand(p.now)
		require.Equal(t, Command{Subscribe, 1, 5}, w)
		p.stream.OnCommandSent(p.now, w)
		p.receivePage(5, 1, false)
	}
	p.receive(chunkMsg(2)) // it lives: 30 s again
	require.Equal(t, p.now+30*time.Second, p.stream.Deadline(p.now))
}

func TestOtherEpochRestartsReader(t *testing.T) {
	p := newFixture(t, 10_000)
	p.receive(chunkMsg(2), chunkMsg(3))
	p.expectEvents("c2", "c3")
	p.receive(chunkMsg(4)) // not taken when the history changes
	p.stream.OnDisconnect()
	p.expectCommand(Subscribe, 4)
	late := resultMsg(5)
	p.stream.OnEvent(p.now, &late, false) // overtakes the page, and may be of either
	p.receivePage(6, 2, false, wire.ServerMessage{Type: wire.TypeAck, Seq: 1, Epoch: 6}, chunkMsg(2))
	p.expectEvents("restart/2", "c2")
	require.EqualValues(t, 6, p.stream.Epoch())
	p.receive(chunkMsg(3), resultMsg(4))
	p.expectEvents("c3", "end")
}

func TestTruncatedHistoryRestartsReader(t *testing.T) {
	p := newFixture(t, 10_000)
	p.receive(chunkMsg(2), chunkMsg(3))
	p.expectEvents("c2", "c3")
	more := false
	p.stream.OnPage(p.now, &wire.ServerMessage{
		Type: wire.TypeSnapshot, Epoch: 5, Recovered: new(bool), Status: "running", Attempt: 1, LastSeq: 2, More: &more,
		Events: []wire.ServerMessage{{Type: wire.TypeAck, Seq: 1, Epoch: 5}, chunkMsg(2)},
	}, true, true)
	p.expectEvents("restart/2", "c2")
	require.EqualValues(t, 2, p.stream.State.LastSeq)
	p.expectCommand(Nothing, 0)
}

func TestLatePagesAreHarmless(t *testing.T) {
	p := newFixture(t, 10_000)
	p.receive(chunkMsg(2), chunkMsg(3))
	more, less := true, false
	p.stream.OnPage(p.now, &wire.ServerMessage{Epoch: 5, LastSeq: 3, More: &less, Events: []wire.ServerMessage{chunkMsg(2)}}, false, true)
	p.expectCommand(Nothing, 0)
	p.stream.OnPage(p.now, &wire.ServerMessage{Epoch: 4, LastSeq: 9, More: &less}, false, true)
	require.EqualValues(t, 5, p.stream.Epoch())
	p.expectCommand(Subscribe, 3) // who knows
	p.receivePage(5, 3, false)
	p.expectCommand(Nothing, 0)
	p.stream.OnPage(p.now, &wire.ServerMessage{Epoch: 5, LastSeq: 3, More: &more}, false, true)
	p.expectCommand(Subscribe, 3) // it ended the liveness
	p.expectEvents("c2", "c3")
}

func TestTwoReaders(t *testing.T) {
	p := newFixture(t, 10_000)
	p.receive(chunkMsg(2), chunkMsg(3))
	second := NewReader(10_000, false)
	p.stream.AddReader(second)
	p.expectCommand(Subscribe, 0)
	p.receivePage(5, 3, true, wire.ServerMessage{Type: wire.TypeAck, Seq: 1}, chunkMsg(2))
	p.expectCommand(Subscribe, 2)
	p.receivePage(5, 3, false, chunkMsg(3))
	p.expectCommand(Nothing, 0)
	p.receive(resultMsg(4))
	p.expectEvents("c2", "c3", "end")
	p.reader = second
	p.expectEvents("c2", "c3", "end")
	p.stream.RemoveReader(second)
	p.stream.RemoveReader(second)
}

func TestSlowReaderDoesNotDelayAnother(t *testing.T) {
	p := newFixture(t, 10_000)
	slow := NewReader(overhead, false)
	p.stream.AddReader(slow)
	p.receivePage(5, 1, false, wire.ServerMessage{Type: wire.TypeAck, Seq: 1})
	for seq := uint64(2); seq < 20; seq++ {
		p.receive(chunkMsg(seq))
	}
	require.LessOrEqual(t, slow.BufferSize(), 2*overhead)
	p.expectCommand(Nothing, 0)
	p.stream.OnLag(p.now, 25)
	p.expectCommand(Subscribe, 19) // for the one that can take it
	p.receivePage(5, 25, false, chunkMsg(20), chunkMsg(21), chunkMsg(22), chunkMsg(23), chunkMsg(24), chunkMsg(25))
	require.LessOrEqual(t, slow.BufferSize(), 2*overhead)
	p.expectCommand(Nothing, 0)
}

func TestEndOnlyReader(t *testing.T) {
	p := newFixtureFor(t, NewReader(1000, true))
	p.receive(chunkMsg(2), chunkMsg(9), chunkMsg(4))
	p.expectCommand(Nothing, 0)
	require.Zero(t, p.reader.BufferSize())
	p.receive(resultMsg(30)) // whatever is missing
	p.expectEvents("end")
	require.NotNil(t, p.reader.End())
	require.True(t, p.reader.SetReading(true), "a reader that comes now pulls all")
	require.NotNil(t, p.reader.End(), "the end stays known")
	p.stream.OnDisconnect()
	p.expectCommand(Subscribe, 0)
}

func TestWaitEndDropsUnreadBuffer(t *testing.T) {
	p := newFixture(t, 2*overhead)
	p.reader.SetReading(true)
	p.receive(chunkMsg(2), chunkMsg(3))
	p.reader.WaitEnd()
	p.expectEvents("c2", "c3") // somebody reads
	p.receive(chunkMsg(4), chunkMsg(5), chunkMsg(6))
	p.reader.SetReading(false)
	require.Zero(t, p.reader.BufferSize())
	p.receive(resultMsg(9))
	require.NotNil(t, p.reader.End())
	require.True(t, p.reader.SetReading(true))
	p.stream.OnDisconnect()
	p.expectCommand(Subscribe, 3) // behind what was handed out
	p.receivePage(5, 9, false, chunkMsg(4), chunkMsg(5), attemptMsg(6, 4, 6, 2), chunkMsg(7), chunkMsg(8), resultMsg(9))
	p.expectEvents("c4", "m6/0", "c7", "c8", "end")
}

func TestFailEndsReader(t *testing.T) {
	p := newFixture(t, 1000)
	p.receive(chunkMsg(2))
	p.stream.Fail(&wire.ServerMessage{Code: "gone"})
	p.stream.Fail(&wire.ServerMessage{Code: "again"})
	p.receive(chunkMsg(3), resultMsg(4))
	p.expectEvents("c2", "gone")
	require.False(t, p.reader.SetReading(true))
}

func TestInlineEnd(t *testing.T) {
	var s Stream
	r := NewReader(1000, false)
	s.AddReader(r)
	s.OnEvent(0, &wire.ServerMessage{Type: wire.TypeError, Code: "no", Details: []byte(`{}`)}, true)
	require.Equal(t, "no", r.End().Err.Code)
	require.True(t, s.Ended())
	require.Equal(t, "failed", s.State.Status)
	s.OnEvent(0, &wire.ServerMessage{Type: wire.TypePong}, true)
}

func TestStateFollowsEvents(t *testing.T) {
	p := newFixture(t, 10_000)
	require.Equal(t, "queued", p.stream.State.Status)
	p.receive(chunkMsg(2))
	require.Equal(t, State{Status: "running", Attempt: 1, LastSeq: 2}, p.stream.State)
	p.receive(attemptMsg(3, 1, 3, 2))
	require.Equal(t, 2, p.stream.State.Attempt)
	more := false
	p.stream.OnPage(p.now, &wire.ServerMessage{Epoch: 5, LastSeq: 3, Status: "queued", Attempt: 2, Due: 99, CancelRequested: true, More: &more}, true, true)
	require.Equal(t, State{Status: "queued", Attempt: 2, LastSeq: 3, Due: 99, CancelRequested: true}, p.stream.State)
	end := wire.ServerMessage{Type: wire.TypeError, Code: wire.CodeCancelled, Seq: 4}
	p.receive(end)
	require.Equal(t, "cancelled", p.stream.State.Status)
	p.receivePage(5, 4, false)
	require.Equal(t, "cancelled", p.stream.State.Status)
}
