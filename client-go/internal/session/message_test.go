package session

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

// pongMsg is received so that the connection is not given up.
var pongMsg = wire.ServerMessage{Type: wire.TypePong}

func TestRequestIsSentAgainThreeTimes(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	id, call := s.submitSent(1, 1, false)
	require.True(t, call.RequestSent())
	for n, backoff := range []time.Duration{0, 500 * time.Millisecond, time.Second} {
		s.advance(30*time.Second + backoff - 1)
		s.expectNothingSent(1)
		s.advance(1)
		got := s.takeSent(1)
		if n != 1 { // nothing was received since the request was sent: the connection is checked
			require.Equal(t, wire.TypePing, got[0].Type)
			s.receive(1, pongMsg)
			got = got[1:]
		}
		require.Len(t, got, 1)
		require.Equal(t, id, got[0].ID)
	}
	s.advance(32*time.Second - 1)
	s.expectNothingSent(1)
	require.Nil(t, call.Reader.End())
	s.advance(1)
	requireFailed(t, call, wire.CodeUnavailable)
	require.Empty(t, s.machine.streams)
	require.Zero(t, s.machine.calls)
}

func TestSyncIsNotSentAgainUnlessTheConnectionIsLost(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	id, call := s.submit(1, true)
	request := s.expectSent(1, wire.TypeRequest)
	s.receive(1, wire.ServerMessage{})
	s.advance(5 * time.Second)
	s.expectNothingSent(1)
	s.loseConn(1, 0)
	s.advance(time.Second)
	s.connect(noDeadline)
	require.Equal(t, request, s.expectSent(2, wire.TypeRequest))
	s.receive(2, errorMsg(id, "", wire.CodeOverloaded, false))
	requireFailed(t, call, wire.CodeOverloaded)

	_, call = s.submitSent(2, 2, true)
	s.advance(20 * time.Second)
	s.receive(2, pongMsg)
	s.advance(10 * time.Second)
	requireFailed(t, call, wire.CodeUnavailable)
	s.expectNothingSent(2)
}

func TestForeignFrameResendsAfterASecond(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	id, call := s.submit(1, false)
	other := s.attach(wire.NewIDAt(time.UnixMilli(2)))
	require.Len(t, s.takeSent(1), 2)
	s.receive(1, wire.ServerMessage{})
	require.Equal(t, 1, s.out().warnings)
	s.advance(time.Second - 1)
	s.expectNothingSent(1)
	s.advance(1)
	again := s.takeSent(1)
	require.Len(t, again, 2)
	require.Equal(t, id, again[0].ID)
	s.receive(1, wire.ServerMessage{Type: wire.TypeResult, ID: id})
	require.NotNil(t, call.Reader.End())
	s.receive(1, errorMsg("", again[1].Ref, wire.CodeNotFound, true))
	requireFailed(t, other, wire.CodeNotFound)
}

func TestRefusedForNowIsSentAgain(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	id, call := s.submitSent(1, 1, false)
	m := errorMsg(id, "", wire.CodeOverloaded, false)
	m.RetryAfterMs = 3000
	for range 3 {
		s.receive(1, m)
		s.advance(3*time.Second - 1)
		s.expectNothingSent(1)
		s.advance(1)
		s.expectSent(1, wire.TypeRequest)
	}
	s.receive(1, m)
	requireFailed(t, call, wire.CodeOverloaded)

	id, call = s.submitSent(1, 2, false)
	m.ID, m.Final = id, new(true)
	s.receive(1, m)
	requireFailed(t, call, wire.CodeOverloaded) // final: it is not sent again
}

func TestUnsentRequestFailsAfterAMinute(t *testing.T) {
	s := newHarness(t, Config{})
	_, call := s.submit(1, false)
	require.False(t, call.RequestSent())
	s.advance(time.Minute - 1)
	require.Nil(t, call.Reader.End())
	s.advance(1)
	requireFailed(t, call, wire.CodeUnavailable)

	s = newHarness(t, Config{Timing: Timing{Unsent: -1}})
	_, call = s.submit(1, false)
	s.advance(time.Hour)
	require.Nil(t, call.Reader.End())
	s.machine.Detach(s.now, call)
	s.connect(noDeadline)
	s.expectNothingSent(1) // nobody waits for it
	require.Empty(t, s.machine.streams)
}

// A request that was detached before it was sent is sent when it is submitted again,
// although the stream is still there because of an unanswered subscribe.
func TestDetachedRequestIsSubmittedAgain(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	c := wire.ClientMessage{Type: wire.TypeRequest, ID: wire.NewIDAt(time.UnixMilli(1)), Action: "a"}
	request := &Request{ID: c.ID, Body: c.Append(nil)}
	attached := s.attach(c.ID)
	s.expectSent(1, wire.TypeSubscribe)
	call, err := s.machine.Submit(s.now, request)
	require.Nil(t, err)
	s.machine.Detach(s.now, attached)
	s.machine.Detach(s.now, call)
	_, err = s.machine.Submit(s.now, request)
	require.Nil(t, err)
	s.loseConn(1, 0)
	s.advance(30 * time.Second)
	s.expectSent(s.connect(noDeadline), wire.TypeRequest)
}

func TestRequestThatLosesConnectionsFails(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	_, call := s.submit(1, false)
	gen := 1
	for call.Reader.End() == nil {
		s.expectSent(gen, wire.TypeRequest)
		s.loseConn(gen, 0)
		if call.Reader.End() == nil {
			s.advance(time.Minute)
			gen = s.connect(noDeadline)
		}
	}
	require.Equal(t, maxLosses+1, gen)
	requireFailed(t, call, wire.CodeUnavailable)
}

func TestOnePendingMessagePerID(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	id, call := s.submitSent(1, 1, false)
	s.machine.Detach(s.now, call)
	s.expectNothingSent(1) // the request has no answer yet
	s.receive(1, wire.ServerMessage{Type: wire.TypeAck, ID: id, Seq: 1, Epoch: 5})
	m := s.expectSent(1, wire.TypeUnsubscribe)
	again := s.attach(id)
	s.expectNothingSent(1) // and neither does the unsubscribe
	require.NotNil(t, s.machine.Cancel(s.now, again))
	s.expectSent(1, wire.TypeCancel) // only a cancel may be sent before the answer
	s.receive(1, wire.ServerMessage{Type: wire.TypeOK, Ref: m.Ref})
	s.expectSent(1, wire.TypeSubscribe)
}

func TestSameIDJoinsTheCall(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	id, first := s.submitSent(1, 1, false)
	second, err := s.machine.Submit(s.now, &Request{ID: id, Hash: 1})
	require.Nil(t, err)
	s.expectNothingSent(1)
	_, err = s.machine.Submit(s.now, &Request{ID: id, Hash: 2})
	require.Equal(t, wire.CodeConflict, err.Code)
	s.receive(1, wire.ServerMessage{Type: wire.TypeResult, ID: id, Payload: []byte(`1`)})
	require.Equal(t, "1", string(first.Reader.End().Data))
	require.Equal(t, "1", string(second.Reader.End().Data))
}

func TestSuperseded(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	id, call := s.submitSent(1, 1, false)
	s.receive(1, errorMsg(id, "", wire.CodeSuperseded, false))
	m := s.expectSent(1, wire.TypeSubscribe)
	s.receive(1, snapshotMsg(m.Ref, id, 2, wire.ServerMessage{Type: wire.TypeAck, Seq: 1}, wire.ServerMessage{Type: wire.TypeResult, Seq: 2, Payload: []byte(`2`)}))
	require.Equal(t, "2", string(call.Reader.End().Data))
}

func TestLateInlineAnswerOfAStoredCall(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	id, call := s.submitAccepted(1, 1)
	s.receive(1, wire.ServerMessage{Type: wire.TypeResult, ID: id, Payload: []byte(`"inline"`)}, errorMsg(id, "", wire.CodeSuperseded, false))
	require.Nil(t, call.Reader.End(), "only what has a seq counts, once the call is stored")
	s.receive(1, wire.ServerMessage{Type: wire.TypeResult, ID: id, Seq: 2, Payload: []byte(`"stored"`)})
	require.Equal(t, `"stored"`, string(call.Reader.End().Data))
}

func TestEventAcceptsTheRequest(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	id, call := s.submitSent(1, 1, false)
	s.receive(1, wire.ServerMessage{Type: wire.TypeChunk, ID: id, Seq: 2, Attempt: 1, Data: []byte(`1`)}) // it comes before the ack
	require.True(t, call.Accepted())
	s.advance(100 * time.Millisecond)
	s.expectNothingSent(1)
	s.receive(1, wire.ServerMessage{Type: wire.TypeAck, ID: id, Seq: 1, Epoch: 5})
	s.advance(time.Second)
	s.expectNothingSent(1)
	e, ok := s.machine.NextEvent(s.now, call)
	require.True(t, ok)
	require.Equal(t, follow.Chunk, e.Kind)
	s.loseConn(1, 0)
	s.advance(time.Second)
	s.connect(noDeadline)
	require.EqualValues(t, 5, s.expectSent(2, wire.TypeSubscribe).Epoch)
}

func TestCancel(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	id, call := s.submitSent(1, 1, false)
	r := s.machine.Cancel(s.now, call)
	m := s.expectSent(1, wire.TypeCancel)
	s.receive(1, errorMsg("", m.Ref, wire.CodeUnavailable, false))
	s.advance(time.Second)
	require.Equal(t, m, s.expectSent(1, wire.TypeCancel))
	s.receive(1, wire.ServerMessage{Type: wire.TypeOK, Ref: m.Ref})
	require.True(t, r.Done)
	require.Nil(t, r.Err)

	// The idempotency key belongs to another call: that one is cancelled.
	other := wire.NewIDAt(time.UnixMilli(9))
	hit := snapshotMsg("", other, 1, wire.ServerMessage{Type: wire.TypeAck, Seq: 1})
	hit.For = id
	s.receive(1, hit)
	m = s.expectSent(1, wire.TypeCancel)
	require.Equal(t, other, m.ID)
	s.receive(1, wire.ServerMessage{Type: wire.TypeOK, Ref: m.Ref})

	// After the end a snapshot answers.
	id, call = s.submitAccepted(1, 2)
	r = s.machine.Cancel(s.now, call)
	m = s.expectSent(1, wire.TypeCancel)
	s.receive(1, snapshotMsg(m.Ref, id, 2, wire.ServerMessage{Type: wire.TypeAck, Seq: 1}, wire.ServerMessage{Type: wire.TypeResult, Seq: 2}))
	require.True(t, r.Done)
	require.NotNil(t, call.Reader.End())

	// The caller has stopped waiting.
	_, call = s.submitAccepted(1, 3)
	r = s.machine.Cancel(s.now, call)
	s.machine.DropReply(r)
	require.Empty(t, s.machine.refs)
	// The server does not answer.
	r = s.machine.Cancel(s.now, call)
	for range 10 {
		s.advance(10 * time.Second)
		s.receive(1, pongMsg)
	}
	require.True(t, r.Done)
	require.Equal(t, wire.CodeUnavailable, r.Err.Code)
}

func TestSubscribeRefusedForNow(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	call := s.attach(wire.NewID())
	for range 4 { // a stream that was never known fails
		m := s.expectSent(1, wire.TypeSubscribe)
		s.receive(1, errorMsg("", m.Ref, wire.CodeUnavailable, false))
		s.advance(5 * time.Second)
	}
	requireFailed(t, call, wire.CodeUnavailable)

	// A stream that is known is asked for until there is a page.
	id, call := s.submitAccepted(1, 1)
	s.receive(1, wire.ServerMessage{Type: wire.TypeLag, ID: id, LastSeq: 2})
	asked := 0
	for asked < 20 {
		for _, m := range s.takeSent(1) {
			if asked++; asked < 20 {
				s.receive(1, errorMsg("", m.Ref, wire.CodeUnavailable, false))
			} else {
				s.receive(1, snapshotMsg(m.Ref, id, 2, wire.ServerMessage{Type: wire.TypeResult, Seq: 2}))
			}
		}
		s.advance(10 * time.Millisecond)
	}
	require.NotNil(t, call.Reader.End())
	require.Nil(t, call.Reader.End().Err)
}

func TestEmptyPagesAreNotAskedForInALoop(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	id, _ := s.submitAccepted(1, 1)
	s.receive(1, wire.ServerMessage{Type: wire.TypeLag, ID: id, LastSeq: 9})
	n := 0
	for end := s.now + time.Minute; s.now < end; s.advance(10 * time.Millisecond) {
		for _, m := range s.takeSent(1) {
			if m.Type == wire.TypeSubscribe {
				n++
				s.receive(1, snapshotMsg(m.Ref, id, 9)) // a page without the events that it announces
			}
		}
	}
	require.Less(t, n, 12)
	require.Greater(t, n, 5)
}

func TestTooManyCallsAndClosed(t *testing.T) {
	s := newConnectedHarness(t, Config{MaxCalls: 1})
	_, call := s.submit(1, false)
	_, err := s.machine.Submit(s.now, &Request{ID: "x"})
	require.Equal(t, wire.CodeOverloaded, err.Code)
	list := s.machine.List(s.now, wire.ClientMessage{Action: "a"})
	s.machine.Close(s.now)
	requireFailed(t, call, CodeClosed)
	require.Equal(t, CodeClosed, list.Err.Code)
	_, err = s.machine.Attach(s.now, "x")
	require.Equal(t, CodeClosed, err.Code)
	require.Equal(t, CodeClosed, s.machine.List(s.now, wire.ClientMessage{}).Err.Code)
	require.Equal(t, CodeClosed, s.machine.Cancel(s.now, call).Err.Code)
	require.Equal(t, noDeadline, s.machine.NextDeadline(), "no timer is left")
	require.Equal(t, []int{1}, s.out().closedConns)
}
