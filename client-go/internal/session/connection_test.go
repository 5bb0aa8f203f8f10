package session

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

func TestBackoffGrowsUntilAConnectionAnswers(t *testing.T) {
	s := newHarness(t, Config{})
	for _, want := range []time.Duration{250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000} {
		s.machine.DialFailed(s.now, s.takeDial(), localError(wire.CodeUnavailable, "no", false))
		phase, why := s.machine.Phase()
		require.Equal(t, Reconnecting, phase)
		require.Equal(t, wire.CodeUnavailable, why.Code)
		s.advance(want*time.Millisecond - 1)
		require.Empty(t, s.out().dials)
		s.advance(1)
	}
	// A connection that is lost at once does not reset the backoff.
	gen := s.connect(noDeadline)
	s.loseConn(gen, 0)
	s.advance(30*time.Second - 1)
	require.Empty(t, s.out().dials)
	s.advance(1)
	// A connection on which the server has answered does.
	gen = s.connect(noDeadline)
	s.machine.List(s.now, wire.ClientMessage{})
	s.receive(gen, wire.ServerMessage{Type: wire.TypeCalls, Ref: s.expectSent(gen, wire.TypeList).Ref})
	s.loseConn(gen, wire.CloseRestart)
	s.advance(250 * time.Millisecond)
	// The server says how long to wait.
	m := localError(wire.CodeUnavailable, "full", false)
	m.RetryAfterMs = 100_000
	s.machine.DialFailed(s.now, s.takeDial(), m)
	s.advance(100*time.Second - 1)
	require.Empty(t, s.out().dials)
	s.advance(1)
	s.machine.DialFailed(s.now, s.takeDial(), localError(wire.CodeUnauthorized, "no", true))
	phase, why := s.machine.Phase()
	require.Equal(t, Closed, phase)
	require.Equal(t, wire.CodeUnauthorized, why.Code)
	require.Equal(t, noDeadline, s.machine.NextDeadline())
}

func TestPing(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	s.advance(3 * time.Minute)
	s.submitSent(1, 1, true)
	s.receive(1, pongMsg)
	s.advance(4*time.Minute - 1)
	s.expectNothingSent(1)
	s.advance(1)
	s.expectSent(1, wire.TypePing)
	s.advance(9 * time.Second)
	s.receive(1, pongMsg) // any frame would do
	s.advance(4*time.Minute - 9*time.Second)
	s.expectSent(1, wire.TypePing)
	s.advance(10*time.Second - 1)
	require.Empty(t, s.out().closedConns)
	s.advance(1)
	require.Equal(t, []int{1}, s.out().closedConns)
	s.advance(time.Second)
	s.connect(noDeadline)
	s.machine.OnWake(s.now)
	s.expectSent(2, wire.TypePing)
	s.machine.OnWake(s.now)
	s.expectNothingSent(2)
}

func TestReplacementOverlapsOldConnection(t *testing.T) {
	s := newConnectedHarness(t, Config{Timing: Timing{MaxAge: 20 * time.Second, MaxAgeSpread: 10 * time.Second}})
	a, callA := s.submitAccepted(1, 1)
	b, callB := s.submitSent(1, 2, false)
	inline, callInline := s.submitSent(1, 3, true)
	s.advance(10 * time.Second)
	gen := s.takeDial()
	s.machine.DialFailed(s.now, gen, localError(wire.CodeUnavailable, "no", false))
	phase, _ := s.machine.Phase()
	require.Equal(t, Open, phase, "the old connection is still in use")
	s.advance(time.Second)
	s.connect(noDeadline)
	m := s.expectSent(3, wire.TypeSubscribe)
	require.EqualValues(t, 1, m.After)
	require.Equal(t, a, m.ID)
	s.receive(1, wire.ServerMessage{Type: wire.TypeLag, ID: a, LastSeq: 9}) // on the old connection: it is ignored
	s.receive(3, snapshotMsg(m.Ref, a, 1))
	s.advance(time.Second)
	require.Empty(t, s.out().closedConns, "b and inline have no answer yet")
	s.receive(1, wire.ServerMessage{Type: wire.TypeResult, ID: inline})
	require.NotNil(t, callInline.Reader.End())
	s.receive(1, wire.ServerMessage{Type: wire.TypeAck, ID: b, Seq: 1, Epoch: 5})
	m = s.expectSent(3, wire.TypeSubscribe) // accepted on the old connection, followed on the new one
	require.Equal(t, b, m.ID)
	s.receive(1, wire.ServerMessage{Type: wire.TypeChunk, ID: b, Seq: 2, Attempt: 1, Data: []byte(`1`)})
	s.receive(3, snapshotMsg(m.Ref, b, 2, wire.ServerMessage{Type: wire.TypeChunk, Seq: 2, Attempt: 1, Data: []byte(`1`)}))
	s.advance(time.Second)
	require.Equal(t, []int{1}, s.out().closedConns)
	s.receive(3, wire.ServerMessage{Type: wire.TypeResult, ID: a, Seq: 2}, wire.ServerMessage{Type: wire.TypeResult, ID: b, Seq: 3})
	require.NotNil(t, callA.Reader.End())
	chunk, _ := s.machine.NextEvent(s.now, callB)
	end, _ := s.machine.NextEvent(s.now, callB)
	require.Equal(t, []uint64{2, 3}, []uint64{chunk.Seq, end.Seq}, "what both connections deliver is read once")
	require.Len(t, s.machine.conns, 1)
}

func TestDrainIsBounded(t *testing.T) {
	s := newConnectedHarness(t, Config{Timing: Timing{MaxAge: 20 * time.Second, MaxAgeSpread: 10 * time.Second, AnswerRequest: time.Hour}})
	id, _ := s.submitSent(1, 1, false)
	s.advance(10 * time.Second)
	s.connect(noDeadline)
	s.advance(30*time.Second - 1)
	require.Empty(t, s.out().closedConns)
	s.advance(drainInterval)
	require.Equal(t, []int{1}, s.out().closedConns)
	require.Equal(t, id, s.expectSent(2, wire.TypeRequest).ID, "an unanswered request moves to the new connection")
}

func TestClosing(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	s.receive(1, wire.ServerMessage{Type: wire.TypeClosing, Reason: "shutdown", Reconnect: new(true), AfterMs: 5000})
	_, call := s.submit(1, false)
	s.expectNothingSent(1) // requests wait for the next connection
	s.loseConn(1, wire.CloseRestart)
	s.advance(5*time.Second - 1)
	require.Empty(t, s.out().dials, "a random part of afterMs first")
	s.advance(1)
	s.connect(noDeadline)
	s.expectSent(2, wire.TypeRequest)
	s.receive(2, wire.ServerMessage{Type: wire.TypeClosing, Reason: "overloaded", Reconnect: new(false)})
	s.advance(time.Minute)
	require.Empty(t, s.out().dials)
	s.loseConn(2, wire.CloseTryLater)
	requireFailed(t, call, wire.CodeUnavailable)

	for code, again := range map[int]bool{wire.CloseNormal: false, wire.CloseUnsupportedData: false, wire.CloseTokenExpired: true, 1006: true, 4999: true} {
		s = newConnectedHarness(t, Config{})
		s.loseConn(1, code)
		s.advance(time.Minute)
		require.Equal(t, again, len(s.out().dials) == 1, code)
	}
}

func TestTokenIsRenewed(t *testing.T) {
	s := newHarness(t, Config{CanRefresh: true, Timing: Timing{Ping: 24 * time.Hour}})
	s.connect(10 * time.Minute)
	s.advance(9*time.Minute - 1)
	require.Zero(t, s.out().tokenFetches)
	s.advance(1)
	require.Equal(t, 1, s.out().tokenFetches)
	s.takeSent(1)
	s.machine.TokenFetched(s.now, "t", 10*time.Minute, true, false) // the same one: fetched again a little later
	s.advance(49 * time.Second)
	require.Equal(t, 2, s.out().tokenFetches)
	s.receive(1, pongMsg)
	s.machine.TokenFetched(s.now, "", 0, false, true) // none: fetched again with backoff
	s.advance(2 * time.Second)
	require.Equal(t, 3, s.out().tokenFetches)
	s.machine.TokenFetched(s.now, "u", time.Hour, false, false)
	m := s.expectSent(1, wire.TypeAuth)
	require.Equal(t, "u", m.Token)
	s.receive(1, wire.ServerMessage{Type: wire.TypeOK, Ref: m.Ref})
	s.advance(30 * time.Minute)
	require.Equal(t, 3, s.out().tokenFetches)
	require.Empty(t, s.out().dials)
}

func TestExpiredToken(t *testing.T) {
	s := newHarness(t, Config{CanRefresh: true})
	s.connect(noDeadline)
	id, call := s.submitSent(1, 1, false)
	followed, _ := s.submitAccepted(1, 2)
	s.receive(1, errorMsg(id, "", wire.CodeTokenExpired, false))
	require.Equal(t, 1, s.out().tokenFetches)
	_, _ = s.submit(3, false)
	s.receive(1, wire.ServerMessage{Type: wire.TypeLag, ID: followed, LastSeq: 3})
	s.expectNothingSent(1) // only auth may be sent
	s.machine.TokenFetched(s.now, "t", noDeadline, false, false)
	m := s.expectSent(1, wire.TypeAuth)
	s.receive(1, wire.ServerMessage{Type: wire.TypeOK, Ref: m.Ref})
	require.Len(t, s.takeSent(1), 3, "both requests and the subscribe")

	// A token of another subject needs another connection.
	s.receive(1, errorMsg(id, "", wire.CodeTokenExpired, false))
	s.machine.TokenFetched(s.now, "u", noDeadline, false, false)
	m = s.expectSent(1, wire.TypeAuth)
	s.receive(1, errorMsg("", m.Ref, wire.CodeReconnectRequired, false))
	s.connect(noDeadline)
	require.Contains(t, []string{wire.TypeRequest, wire.TypeSubscribe}, s.out().sent[2][0].Type)

	// A token that is refused: the next handshake decides.
	s.takeSent(2)
	s.receive(2, errorMsg(id, "", wire.CodeTokenExpired, false))
	s.machine.TokenFetched(s.now, "v", noDeadline, false, false)
	m = s.expectSent(2, wire.TypeAuth)
	s.receive(2, errorMsg("", m.Ref, wire.CodeUnauthorized, false))
	s.advance(time.Minute)
	s.machine.DialFailed(s.now, s.takeDial(), localError(wire.CodeUnauthorized, "no", true))
	requireFailed(t, call, wire.CodeUnauthorized)
}

func TestExpiredTokenAndNoOther(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	id, call := s.submitSent(1, 1, false)
	s.receive(1, errorMsg(id, "", wire.CodeTokenExpired, true))
	requireFailed(t, call, wire.CodeTokenExpired)
	require.Zero(t, s.out().tokenFetches)
}

func TestOpenedTooLate(t *testing.T) {
	s := newHarness(t, Config{})
	gen := s.takeDial()
	s.machine.Close(s.now)
	s.machine.Opened(s.now, gen, noDeadline)
	require.Equal(t, []int{gen}, s.out().closedConns)
	s.receive(gen, pongMsg)
	s.loseConn(gen, 0)
	s.receive(gen, wire.ServerMessage{})
	s.machine.TokenFetched(s.now, "t", noDeadline, false, false)
	s.machine.DialFailed(s.now, gen, localError(wire.CodeUnavailable, "", false))
	require.Equal(t, noDeadline, s.machine.NextDeadline())
}

func TestUnknownMessagesAreIgnored(t *testing.T) {
	s := newConnectedHarness(t, Config{})
	for _, m := range []wire.ServerMessage{
		{Type: "event"},
		{Type: wire.TypeUnreadable},
		{Type: wire.TypeOK, Ref: "9"},
		{Type: wire.TypeChunk, ID: "x", Seq: 1},
		{Type: wire.TypeProgress, ID: "x"},
		{Type: wire.TypeLag, ID: "x"},
		{Type: wire.TypeSnapshot, ID: "x", Ref: "9"},
		{Type: wire.TypeCalls, Ref: "9"},
		{Type: wire.TypeError, Ref: "9"},
		{Type: wire.TypeError, ID: "x"},
		{Type: wire.TypeResult, ID: "x"},
		pongMsg,
	} {
		s.receive(1, m)
	}
	require.Zero(t, s.out().warnings)
	s.receive(1, wire.ServerMessage{Type: wire.TypeError, Code: wire.CodeInvalidBatch})
	require.Equal(t, 1, s.out().warnings)
	s.expectNothingSent(1)
}
