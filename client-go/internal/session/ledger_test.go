package session

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

// pong keeps a connection from being taken for dead.
var pong = wire.ServerMessage{Type: wire.TypePong}

func TestRequestIsSentAgainThreeTimes(t *testing.T) {
	s := opened(t, Config{})
	id, call := s.submit(1, false)
	require.Equal(t, id, s.says(1, wire.TypeRequest).ID)
	require.True(t, call.Sent())
	s.pass(30*time.Second - 1)
	s.silent(1)
	at := []time.Duration{30 * time.Second}
	for n, backoff := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second} {
		for s.now < at[n] {
			s.pass(time.Millisecond)
		}
		got := s.said(1)
		if n != 1 { // nothing was heard since it was sent: is anybody there?
			require.Equal(t, wire.TypePing, got[0].Type)
			s.get(1, pong)
			got = got[1:]
		}
		require.Len(t, got, 1)
		require.Equal(t, id, got[0].ID)
		at = append(at, s.now+30*time.Second+backoff)
		s.pass(at[n+1] - s.now - time.Millisecond)
		s.silent(1)
	}
	require.Nil(t, call.Reader.End())
	s.pass(time.Millisecond)
	failed(t, call, wire.CodeUnavailable)
	require.Empty(t, s.m.streams)
	require.Zero(t, s.m.calls)
}

func TestSyncIsNotSentAgainUnlessTheConnectionIsLost(t *testing.T) {
	s := opened(t, Config{})
	id, call := s.submit(1, true)
	s.said(1)
	s.m.Foreign(s.now, 1)
	s.pass(5 * time.Second)
	s.silent(1)
	s.lost(1, 0)
	s.pass(time.Second)
	s.open(never)
	require.Equal(t, id, s.says(2, wire.TypeRequest).ID)
	s.get(2, refusal(id, "", wire.CodeOverloaded, false))
	failed(t, call, wire.CodeOverloaded)

	_, call = s.submit(2, true)
	s.said(2)
	s.pass(20 * time.Second)
	s.get(2, pong)
	s.pass(10 * time.Second)
	failed(t, call, wire.CodeUnavailable)
	s.silent(2)
}

func TestForeignFrameMakesAllDueAfterASecond(t *testing.T) {
	s := opened(t, Config{})
	id, call := s.submit(1, false)
	other, err := s.m.Attach(s.now, wire.NewIDAt(time.UnixMilli(2)), false)
	require.Nil(t, err)
	s.look()
	require.Len(t, s.said(1), 2)
	s.get(1, wire.ServerMessage{})
	require.Equal(t, 1, s.moans)
	s.pass(time.Second - 1)
	s.silent(1)
	s.pass(1)
	again := s.said(1)
	require.Len(t, again, 2)
	require.Equal(t, id, again[0].ID)
	s.get(1, wire.ServerMessage{Type: wire.TypeResult, ID: id})
	require.NotNil(t, call.Reader.End())
	s.get(1, refusal("", again[1].Ref, wire.CodeNotFound, true))
	failed(t, other, wire.CodeNotFound)
}

func TestRefusedForNowIsSentAgain(t *testing.T) {
	s := opened(t, Config{})
	id, call := s.submit(1, false)
	s.said(1)
	m := refusal(id, "", wire.CodeOverloaded, false)
	m.RetryAfterMs = 3000
	for range 3 {
		s.get(1, m)
		s.pass(3*time.Second - 1)
		s.silent(1)
		s.pass(1)
		s.says(1, wire.TypeRequest)
	}
	s.get(1, m)
	failed(t, call, wire.CodeOverloaded)

	id, call = s.submit(2, false)
	s.said(1)
	m.ID, m.Final = id, new(bool)
	*m.Final = true
	s.get(1, m)
	failed(t, call, wire.CodeOverloaded) // final: nothing more ever comes
}

func TestUnsentWaitsAMinute(t *testing.T) {
	s := newStage(t, Config{})
	_, call := s.submit(1, false)
	require.False(t, call.Sent())
	s.pass(time.Minute - 1)
	require.Nil(t, call.Reader.End())
	s.pass(1)
	failed(t, call, wire.CodeUnavailable)

	s = newStage(t, Config{Timing: Timing{Unsent: -1}})
	_, call = s.submit(1, false)
	s.pass(time.Hour)
	require.Nil(t, call.Reader.End())
	s.m.Detach(s.now, call)
	s.open(never)
	s.silent(1) // nobody wants it any more
	require.Empty(t, s.m.streams)
}

func TestPoisonIsGivenUp(t *testing.T) {
	s := opened(t, Config{})
	_, call := s.submit(1, false)
	gen := 1
	for call.Reader.End() == nil {
		s.says(gen, wire.TypeRequest)
		s.lost(gen, 0)
		if call.Reader.End() == nil {
			s.pass(time.Minute)
			gen = s.open(never)
		}
	}
	require.Equal(t, maxLosses+1, gen)
	failed(t, call, wire.CodeUnavailable)
}

func TestOneMessageAtATimePerID(t *testing.T) {
	s := opened(t, Config{})
	id, call := s.submit(1, false)
	s.said(1)
	s.m.Detach(s.now, call)
	s.look()
	s.silent(1) // the request has no answer yet
	s.get(1, wire.ServerMessage{Type: wire.TypeAck, ID: id, Seq: 1, Epoch: 5})
	m := s.says(1, wire.TypeUnsubscribe)
	again, err := s.m.Attach(s.now, id, false)
	require.Nil(t, err)
	s.look()
	s.silent(1) // nor has the unsubscribe
	require.NotNil(t, s.m.Cancel(s.now, again))
	s.look()
	s.says(1, wire.TypeCancel) // which alone may go ahead
	s.get(1, wire.ServerMessage{Type: wire.TypeOK, Ref: m.Ref})
	s.says(1, wire.TypeSubscribe)
}

func TestSameIDIsTheSameCall(t *testing.T) {
	s := opened(t, Config{})
	id, first := s.submit(1, false)
	s.said(1)
	second, err := s.m.Submit(s.now, &Request{ID: id, Sum: 1})
	require.Nil(t, err)
	s.look()
	s.silent(1)
	_, err = s.m.Submit(s.now, &Request{ID: id, Sum: 2})
	require.Equal(t, wire.CodeConflict, err.Code)
	s.get(1, wire.ServerMessage{Type: wire.TypeResult, ID: id, Payload: []byte(`1`)})
	require.Equal(t, "1", string(first.Reader.End().Data))
	require.Equal(t, "1", string(second.Reader.End().Data))
}

func TestSuperseded(t *testing.T) {
	s := opened(t, Config{})
	id, call := s.submit(1, false)
	s.said(1)
	s.get(1, refusal(id, "", wire.CodeSuperseded, false))
	m := s.says(1, wire.TypeSubscribe)
	s.get(1, page(m.Ref, id, 2, false, wire.ServerMessage{Type: wire.TypeAck, Seq: 1}, wire.ServerMessage{Type: wire.TypeResult, Seq: 2, Payload: []byte(`2`)}))
	require.Equal(t, "2", string(call.Reader.End().Data))
}

func TestLateInlineAnswerOfAStoredCall(t *testing.T) {
	s := opened(t, Config{})
	id, call := s.followed(1, 1)
	s.get(1, wire.ServerMessage{Type: wire.TypeResult, ID: id, Payload: []byte(`"inline"`)}, refusal(id, "", wire.CodeSuperseded, false))
	require.Nil(t, call.Reader.End(), "only what has a seq counts, once the call is stored")
	s.get(1, wire.ServerMessage{Type: wire.TypeResult, ID: id, Seq: 2, Payload: []byte(`"stored"`)})
	require.Equal(t, `"stored"`, string(call.Reader.End().Data))
}

func TestAnEventProvesTheRequest(t *testing.T) {
	s := opened(t, Config{})
	id, call := s.submit(1, false)
	s.said(1)
	s.get(1, wire.ServerMessage{Type: wire.TypeChunk, ID: id, Seq: 2, Attempt: 1, Data: []byte(`1`)}) // the ack was overtaken
	require.True(t, call.Accepted())
	s.pass(100 * time.Millisecond)
	s.silent(1)
	s.get(1, wire.ServerMessage{Type: wire.TypeAck, ID: id, Seq: 1, Epoch: 5})
	s.pass(time.Second)
	s.silent(1)
	e, ok := s.m.Take(s.now, call)
	require.True(t, ok)
	require.Equal(t, follow.Chunk, e.Kind)
	s.lost(1, 0)
	s.pass(time.Second)
	s.open(never)
	require.EqualValues(t, 5, s.says(2, wire.TypeSubscribe).Epoch)
}

func TestCancel(t *testing.T) {
	s := opened(t, Config{})
	id, call := s.submit(1, false)
	s.said(1)
	r := s.m.Cancel(s.now, call)
	s.look()
	m := s.says(1, wire.TypeCancel)
	s.get(1, refusal("", m.Ref, wire.CodeUnavailable, false))
	s.pass(time.Second)
	require.Equal(t, m, s.says(1, wire.TypeCancel))
	s.get(1, wire.ServerMessage{Type: wire.TypeOK, Ref: m.Ref})
	require.True(t, r.Done)
	require.Nil(t, r.Err)

	// The request turns out to be another's, by its key: that one is meant.
	other := wire.NewIDAt(time.UnixMilli(9))
	hit := page("", other, 1, false, wire.ServerMessage{Type: wire.TypeAck, Seq: 1})
	hit.For = id
	s.get(1, hit)
	m = s.says(1, wire.TypeCancel)
	require.Equal(t, other, m.ID)
	s.get(1, wire.ServerMessage{Type: wire.TypeOK, Ref: m.Ref})

	// After the end a snapshot answers.
	id, call = s.followed(1, 2)
	r = s.m.Cancel(s.now, call)
	s.look()
	m = s.says(1, wire.TypeCancel)
	s.get(1, page(m.Ref, id, 2, false, wire.ServerMessage{Type: wire.TypeAck, Seq: 1}, wire.ServerMessage{Type: wire.TypeResult, Seq: 2}))
	require.True(t, r.Done)
	require.NotNil(t, call.Reader.End())

	// Nobody waits for it any more.
	_, call = s.followed(1, 3)
	r = s.m.Cancel(s.now, call)
	s.look()
	s.m.Abandon(r)
	require.Empty(t, s.m.refs)
	// Nobody answers.
	r = s.m.Cancel(s.now, call)
	for range 10 {
		s.pass(10 * time.Second)
		s.get(1, pong)
	}
	require.True(t, r.Done)
	require.Equal(t, wire.CodeUnavailable, r.Err.Code)
}

func TestSubscribeRefusedForNow(t *testing.T) {
	s := opened(t, Config{})
	call, err := s.m.Attach(s.now, wire.NewID(), false)
	require.Nil(t, err)
	s.look()
	for range 4 { // what was never seen is given up
		m := s.says(1, wire.TypeSubscribe)
		s.get(1, refusal("", m.Ref, wire.CodeUnavailable, false))
		s.pass(5 * time.Second)
	}
	failed(t, call, wire.CodeUnavailable)

	// What is known to be there is asked for until it is had.
	id, call := s.followed(1, 1)
	s.get(1, wire.ServerMessage{Type: wire.TypeLag, ID: id, LastSeq: 2})
	asked := 0
	for asked < 20 {
		for _, m := range s.said(1) {
			if asked++; asked < 20 {
				s.get(1, refusal("", m.Ref, wire.CodeUnavailable, false))
			} else {
				s.get(1, page(m.Ref, id, 2, false, wire.ServerMessage{Type: wire.TypeResult, Seq: 2}))
			}
		}
		s.pass(10 * time.Millisecond)
	}
	require.NotNil(t, call.Reader.End())
	require.Nil(t, call.Reader.End().Err)
}

func TestEmptyPagesAreNotAskedForInALoop(t *testing.T) {
	s := opened(t, Config{})
	id, _ := s.followed(1, 1)
	s.get(1, wire.ServerMessage{Type: wire.TypeLag, ID: id, LastSeq: 9})
	n := 0
	for end := s.now + time.Minute; s.now < end; s.pass(10 * time.Millisecond) {
		for _, m := range s.said(1) {
			if m.Type == wire.TypeSubscribe {
				n++
				s.get(1, page(m.Ref, id, 9, false)) // a server that breaks its word
			}
		}
	}
	require.Less(t, n, 12)
	require.Greater(t, n, 5)
}

func TestTooManyCallsAndClosed(t *testing.T) {
	s := opened(t, Config{MaxCalls: 1})
	_, call := s.submit(1, false)
	_, err := s.m.Submit(s.now, &Request{ID: "x"})
	require.Equal(t, wire.CodeOverloaded, err.Code)
	list := s.m.List(s.now, wire.ClientMessage{Action: "a"})
	s.m.Close(s.now)
	failed(t, call, CodeClosed)
	require.Equal(t, CodeClosed, list.Err.Code)
	_, err = s.m.Attach(s.now, "x", false)
	require.Equal(t, CodeClosed, err.Code)
	require.Equal(t, CodeClosed, s.m.List(s.now, wire.ClientMessage{}).Err.Code)
	require.Equal(t, CodeClosed, s.m.Cancel(s.now, call).Err.Code)
	require.Equal(t, never, s.m.Next(), "no timer is left")
	s.look()
	require.Equal(t, []int{1}, s.drops)
}
