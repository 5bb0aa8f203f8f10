package follow

import (
	"fmt"
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// fixture is an accepted stream with one reader, and a clock.
type fixture struct {
	t      *testing.T
	stream Stream
	reader *Reader
	now    time.Duration
}

func newFixture(t *testing.T, limit int, endOnly bool) *fixture {
	f := &fixture{t: t, reader: NewReader(limit, endOnly), now: time.Second}
	f.stream.AddReader(f.reader)
	f.stream.OnAck(f.now, &wire.ServerMessage{Type: wire.TypeAck, Seq: 1, Epoch: 5}, true)
	return f
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

// receive passes live events to the stream.
func (f *fixture) receive(msgs ...wire.ServerMessage) {
	for i := range msgs {
		f.stream.OnEvent(f.now, &msgs[i], true)
	}
}

// receivePage passes the answer to a subscribe to the stream.
func (f *fixture) receivePage(epoch int64, lastSeq uint64, more bool, events ...wire.ServerMessage) {
	f.stream.OnPage(f.now, &wire.ServerMessage{
		Type: wire.TypeSnapshot, Epoch: epoch, Status: "running", Attempt: 1, LastSeq: lastSeq, More: &more, Events: events,
	}, true, true)
}

// expectEvents reads all events and compares their descriptions.
func (f *fixture) expectEvents(want ...string) {
	f.t.Helper()
	var got []string
	for e, ok := f.reader.NextEvent(); ok; e, ok = f.reader.NextEvent() {
		got = append(got, describe(&e))
	}
	require.Equal(f.t, want, got)
}

func describe(e *Event) string {
	switch {
	case e.Kind == Chunk:
		return fmt.Sprint("c", e.Seq)
	case e.Kind == Progress:
		return fmt.Sprint("p", e.Progress.Attempt, ".", e.Progress.Rev)
	case e.Kind == AttemptMark && e.Restart:
		return fmt.Sprint("restart/", e.Discarded)
	case e.Kind == AttemptMark:
		return fmt.Sprint("m", e.Seq, "/", e.Discarded)
	case e.Err != nil:
		return e.Err.Code
	}
	return "end"
}

func (f *fixture) expectCommand(verb Verb, after uint64) {
	f.t.Helper()
	w := f.stream.NextCommand(f.now)
	require.Equal(f.t, verb, w.Verb)
	if verb == Subscribe {
		require.Equal(f.t, Command{Subscribe, after, 5}, w)
		require.LessOrEqual(f.t, f.stream.Deadline(f.now), f.now)
	}
}

func TestEventsAreOrderedAndDeduplicated(t *testing.T) {
	f := newFixture(t, 10_000, false)
	f.receive(chunkMsg(2), chunkMsg(2), chunkMsg(4), chunkMsg(1), chunkMsg(3), chunkMsg(4), resultMsg(5), resultMsg(5))
	f.expectEvents("c2", "c3", "c4", "end")
	require.True(t, f.reader.EndTaken())
	f.expectCommand(Nothing, 0)
	require.Equal(t, NoDeadline, f.stream.Deadline(f.now))
	require.Equal(t, "succeeded", f.stream.State.Status)
}

func TestGapIsFetchedAfter250ms(t *testing.T) {
	f := newFixture(t, 10_000, false)
	f.receive(chunkMsg(3), chunkMsg(5))
	f.expectCommand(Nothing, 0)
	require.Equal(t, f.now+250*ms, f.stream.Deadline(f.now))
	f.now += 250*ms - 1
	f.expectCommand(Nothing, 0)
	f.now++
	f.expectCommand(Subscribe, 1)
	f.receive(chunkMsg(2)) // late; now 4 is missing
	f.expectEvents("c2", "c3")
	f.expectCommand(Nothing, 0)
	f.now += 250 * ms
	f.expectCommand(Subscribe, 3)
	f.receivePage(5, 5, false, chunkMsg(4), chunkMsg(5))
	f.expectEvents("c4", "c5")
	f.expectCommand(Nothing, 0)
}

func TestLargeGapIsFetchedAtOnce(t *testing.T) {
	f := newFixture(t, 100_000, false)
	f.receive(chunkMsg(1 + 64))
	f.expectCommand(Nothing, 0)
	f.receive(chunkMsg(1 + 65))
	f.expectCommand(Subscribe, 1)
}

func TestEarlyEventsAreBounded(t *testing.T) {
	f := newFixture(t, 1000, false)
	for seq := uint64(3); seq < 40; seq++ {
		f.receive(chunkMsg(seq))
	}
	require.LessOrEqual(t, f.reader.earlySize, 1000+overhead+8)
	f.expectCommand(Subscribe, 1)
}

func TestAttemptCountsDiscardedChunks(t *testing.T) {
	f := newFixture(t, 10_000, false)
	f.receive(chunkMsg(2), chunkMsg(3), chunkMsg(4))
	f.expectEvents("c2", "c3", "c4")
	f.receive(attemptMsg(5, 3, 5, 2)) // a checkpoint after 3
	f.expectEvents("m5/1")
	f.receive(chunkMsg(6), chunkMsg(7))
	f.expectEvents("c6", "c7")
	f.receive(chunkMsg(8), attemptMsg(9, 3, 4, 3)) // 8 was not read yet: it is never returned
	f.expectEvents("m9/2")
	f.receive(chunkMsg(10), attemptMsg(11, 10, 11, 4))
	f.expectEvents("c10", "m11/0")
	require.Equal(t, 3, f.reader.chunks.total()) // 2, 3 and 10
}

func TestAttemptCoversDiscardedRange(t *testing.T) {
	f := newFixture(t, 10_000, false)
	f.receive(chunkMsg(2), chunkMsg(3))
	f.expectEvents("c2", "c3")
	f.receive(attemptMsg(9, 2, 5, 3)) // covers 5 and later: 4 is missing
	f.expectCommand(Nothing, 0)
	f.now += 250 * ms
	f.expectCommand(Subscribe, 3)
	f.receivePage(5, 10, false, attemptMsg(9, 2, 3, 3), chunkMsg(10)) // covers 3 and later
	f.expectEvents("m9/1", "c10")
	f.receive(attemptMsg(9, 2, 3, 3))
	f.expectEvents()
}

func TestProgress(t *testing.T) {
	f := newFixture(t, 10_000, false)
	report := func(attempt int, rev uint64) { f.stream.OnProgress(f.now, &wire.Progress{Attempt: attempt, Rev: rev}) }
	report(1, 2)
	report(1, 1)
	f.expectEvents("p1.2")
	report(1, 2)
	report(1, 1)
	f.expectEvents()
	f.receive(chunkMsg(2))
	report(1, 3)
	report(1, 4)
	f.expectEvents("p1.4", "c2")
	report(1, 5)
	f.receive(attemptMsg(3, 1, 3, 2))
	f.expectEvents("p1.5", "m3/1")
	f.receive(chunkMsg(4), attemptMsg(5, 1, 5, 3))
	report(3, 1)
	f.expectEvents("m5/0", "p3.1") // progress does not come before its attempt
	report(2, 9)
	f.receive(resultMsg(6))
	report(3, 2)
	f.expectEvents("end")
	newest, ok := f.reader.Progress()
	require.True(t, ok)
	require.EqualValues(t, 1, newest.Rev)
}

func TestSlowReaderUnsubscribesAndFetchesLater(t *testing.T) {
	f := newFixture(t, 3*overhead, false)
	f.stream.Pausable = true
	f.receive(chunkMsg(2), chunkMsg(3), chunkMsg(4), chunkMsg(5))
	f.expectCommand(Unsubscribe, 0)
	f.stream.Pausable = false
	f.expectCommand(Nothing, 0) // without a subscriber it may be cancelled
	f.stream.Live = false
	f.expectEvents("c2", "c3", "c4")
	f.expectCommand(Subscribe, 4)
	f.receivePage(5, 9, true, chunkMsg(5), chunkMsg(6), chunkMsg(7), chunkMsg(8)) // a whole page is buffered
	f.expectCommand(Nothing, 0)
	f.expectEvents("c5", "c6", "c7", "c8")
	f.expectCommand(Subscribe, 8)
	f.receivePage(5, 9, false, resultMsg(9))
	f.expectEvents("end")
}

func TestSilenceIsCheckedBySubscribing(t *testing.T) {
	f := newFixture(t, 10_000, false)
	for _, wait := range []time.Duration{30, 60, 120, 240, 300, 300} {
		require.Equal(t, f.now+wait*time.Second, f.stream.Deadline(f.now))
		f.now += wait*time.Second - 1
		f.expectCommand(Nothing, 0)
		f.now++
		w := f.stream.NextCommand(f.now)
		require.Equal(t, Command{Subscribe, 1, 5}, w)
		f.stream.OnCommandSent(f.now, w)
		f.receivePage(5, 1, false)
	}
	f.receive(chunkMsg(2)) // an event: 30 s again
	require.Equal(t, f.now+30*time.Second, f.stream.Deadline(f.now))
}

func TestOtherEpochRestartsReader(t *testing.T) {
	f := newFixture(t, 10_000, false)
	f.receive(chunkMsg(2), chunkMsg(3))
	f.expectEvents("c2", "c3")
	f.receive(chunkMsg(4)) // not read when the history changes
	f.stream.OnDisconnect()
	f.expectCommand(Subscribe, 4)
	f.stream.OnEvent(f.now, new(resultMsg(5)), false) // it comes before the page, and may be of either epoch
	f.receivePage(6, 2, false, wire.ServerMessage{Type: wire.TypeAck, Seq: 1, Epoch: 6}, chunkMsg(2))
	f.expectEvents("restart/2", "c2")
	require.EqualValues(t, 6, f.stream.Epoch)
	f.receive(chunkMsg(3), resultMsg(4))
	f.expectEvents("c3", "end")
}

func TestTruncatedHistoryRestartsReader(t *testing.T) {
	f := newFixture(t, 10_000, false)
	f.receive(chunkMsg(2), chunkMsg(3))
	f.expectEvents("c2", "c3")
	f.stream.OnPage(f.now, &wire.ServerMessage{
		Type: wire.TypeSnapshot, Epoch: 5, Recovered: new(false), Status: "running", Attempt: 1, LastSeq: 2,
		Events: []wire.ServerMessage{{Type: wire.TypeAck, Seq: 1, Epoch: 5}, chunkMsg(2)},
	}, true, true)
	f.expectEvents("restart/2", "c2")
	require.EqualValues(t, 2, f.stream.State.LastSeq)
	f.expectCommand(Nothing, 0)
}

func TestLatePagesAreHarmless(t *testing.T) {
	f := newFixture(t, 10_000, false)
	f.receive(chunkMsg(2), chunkMsg(3))
	f.stream.OnPage(f.now, &wire.ServerMessage{Epoch: 5, LastSeq: 3, Events: []wire.ServerMessage{chunkMsg(2)}}, false, true)
	f.expectCommand(Nothing, 0)
	f.stream.OnPage(f.now, &wire.ServerMessage{Epoch: 4, LastSeq: 9}, false, true)
	require.EqualValues(t, 5, f.stream.Epoch)
	f.expectCommand(Subscribe, 3) // the page may mean that the epoch has changed
	f.receivePage(5, 3, false)
	f.expectCommand(Nothing, 0)
	f.stream.OnPage(f.now, &wire.ServerMessage{Epoch: 5, LastSeq: 3, More: new(true)}, false, true)
	f.expectCommand(Subscribe, 3) // the stream is no longer live
	f.expectEvents("c2", "c3")
}

func TestTwoReaders(t *testing.T) {
	f := newFixture(t, 10_000, false)
	f.receive(chunkMsg(2), chunkMsg(3))
	second := NewReader(10_000, false)
	f.stream.AddReader(second)
	f.expectCommand(Subscribe, 0)
	f.receivePage(5, 3, true, wire.ServerMessage{Type: wire.TypeAck, Seq: 1}, chunkMsg(2))
	f.expectCommand(Subscribe, 2)
	f.receivePage(5, 3, false, chunkMsg(3))
	f.expectCommand(Nothing, 0)
	f.receive(resultMsg(4))
	f.expectEvents("c2", "c3", "end")
	f.reader = second
	f.expectEvents("c2", "c3", "end")
	f.stream.RemoveReader(second)
	f.stream.RemoveReader(second)
}

func TestSlowReaderDoesNotDelayAnother(t *testing.T) {
	f := newFixture(t, 10_000, false)
	slow := NewReader(overhead, false)
	f.stream.AddReader(slow)
	f.receivePage(5, 1, false, wire.ServerMessage{Type: wire.TypeAck, Seq: 1})
	for seq := uint64(2); seq < 20; seq++ {
		f.receive(chunkMsg(seq))
	}
	require.LessOrEqual(t, slow.BufferSize(), 2*overhead)
	f.expectCommand(Nothing, 0)
	f.stream.OnLag(f.now, 25)
	f.expectCommand(Subscribe, 19) // for the reader that has room
	f.receivePage(5, 25, false, chunkMsg(20), chunkMsg(21), chunkMsg(22), chunkMsg(23), chunkMsg(24), chunkMsg(25))
	require.LessOrEqual(t, slow.BufferSize(), 2*overhead)
	f.expectCommand(Nothing, 0)
}

func TestEndOnlyReader(t *testing.T) {
	f := newFixture(t, 1000, true)
	f.receive(chunkMsg(2), chunkMsg(9), chunkMsg(4))
	f.expectCommand(Nothing, 0)
	require.Zero(t, f.reader.BufferSize())
	f.receive(resultMsg(30)) // with events missing before it
	f.expectEvents("end")
	require.NotNil(t, f.reader.End())
	require.True(t, f.reader.SetReading(true), "a reader that starts now needs all events")
	require.NotNil(t, f.reader.End(), "the end is still known")
	f.stream.OnDisconnect()
	f.expectCommand(Subscribe, 0)
}

func TestWaitEndDropsUnreadBuffer(t *testing.T) {
	f := newFixture(t, 2*overhead, false)
	f.reader.SetReading(true)
	f.receive(chunkMsg(2), chunkMsg(3))
	f.reader.WaitEnd()
	f.expectEvents("c2", "c3") // there is a reader
	f.receive(chunkMsg(4), chunkMsg(5), chunkMsg(6))
	f.reader.SetReading(false)
	require.Zero(t, f.reader.BufferSize())
	f.receive(resultMsg(9))
	require.NotNil(t, f.reader.End())
	require.True(t, f.reader.SetReading(true))
	f.stream.OnDisconnect()
	f.expectCommand(Subscribe, 3) // after the last event that was read
	f.receivePage(5, 9, false, chunkMsg(4), chunkMsg(5), attemptMsg(6, 4, 6, 2), chunkMsg(7), chunkMsg(8), resultMsg(9))
	f.expectEvents("c4", "m6/0", "c7", "c8", "end")
}

func TestFailEndsReader(t *testing.T) {
	f := newFixture(t, 1000, false)
	f.receive(chunkMsg(2))
	f.reader.Fail(&wire.ServerMessage{Code: "gone"})
	f.reader.Fail(&wire.ServerMessage{Code: "again"})
	f.receive(chunkMsg(3), resultMsg(4))
	f.expectEvents("c2", "gone")
	require.False(t, f.reader.SetReading(true))
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
	f := newFixture(t, 10_000, false)
	require.Equal(t, "queued", f.stream.State.Status)
	f.receive(chunkMsg(2))
	require.Equal(t, State{Status: "running", Attempt: 1, LastSeq: 2}, f.stream.State)
	f.receive(attemptMsg(3, 1, 3, 2))
	require.Equal(t, 2, f.stream.State.Attempt)
	f.stream.OnPage(f.now, &wire.ServerMessage{Epoch: 5, LastSeq: 3, Status: "queued", Attempt: 2, Due: 99, CancelRequested: true}, true, true)
	require.Equal(t, State{Status: "queued", Attempt: 2, LastSeq: 3, Due: 99, CancelRequested: true}, f.stream.State)
	f.receive(wire.ServerMessage{Type: wire.TypeError, Code: wire.CodeCancelled, Seq: 4})
	require.Equal(t, "cancelled", f.stream.State.Status)
	f.receivePage(5, 4, false)
	require.Equal(t, "cancelled", f.stream.State.Status)
}
