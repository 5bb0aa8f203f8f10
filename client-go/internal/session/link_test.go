package session

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

func TestBackoffGrowsUntilAConnectionServes(t *testing.T) {
	s := newStage(t, Config{})
	for _, want := range []time.Duration{250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000} {
		s.m.DialFailed(s.now, s.dialed(), fault(wire.CodeUnavailable, "no", false), false)
		phase, why := s.m.Phase()
		require.Equal(t, Waiting, phase)
		require.Equal(t, wire.CodeUnavailable, why.Code)
		s.pass(want*time.Millisecond - 1)
		require.Empty(t, s.dials)
		s.pass(1)
	}
	// A connection that is lost at once does not begin anew.
	gen := s.open(never)
	s.lost(gen, 0)
	s.pass(30*time.Second - 1)
	require.Empty(t, s.dials)
	s.pass(1)
	// One that has served does.
	gen = s.open(never)
	s.m.List(s.now, wire.ClientMessage{})
	s.look()
	s.get(gen, wire.ServerMessage{Type: wire.TypeCalls, Ref: s.says(gen, wire.TypeList).Ref})
	s.lost(gen, wire.CloseRestart)
	s.pass(250 * time.Millisecond)
	// The server says how long to wait at least.
	m := fault(wire.CodeUnavailable, "full", false)
	m.RetryAfterMs = 100_000
	s.m.DialFailed(s.now, s.dialed(), m, false)
	s.pass(100*time.Second - 1)
	require.Empty(t, s.dials)
	s.pass(1)
	s.m.DialFailed(s.now, s.dialed(), fault(wire.CodeUnauthorized, "no", true), true)
	phase, why := s.m.Phase()
	require.Equal(t, Closed, phase)
	require.Equal(t, wire.CodeUnauthorized, why.Code)
	require.Equal(t, never, s.m.Next())
}

func TestPing(t *testing.T) {
	s := opened(t, Config{})
	s.pass(3 * time.Minute)
	s.submit(1, true)
	s.said(1)
	s.get(1, pong)
	s.pass(4*time.Minute - 1)
	s.silent(1)
	s.pass(1)
	s.says(1, wire.TypePing)
	s.pass(9 * time.Second)
	s.get(1, pong) // any frame would do
	s.pass(4*time.Minute - 9*time.Second)
	s.says(1, wire.TypePing)
	s.pass(10*time.Second - 1)
	require.Empty(t, s.drops)
	s.pass(1)
	require.Equal(t, []int{1}, s.drops)
	s.pass(time.Second)
	s.open(never)
	s.m.Woke(s.now)
	s.look()
	s.says(2, wire.TypePing)
	s.m.Woke(s.now)
	s.look()
	s.silent(2)
}

func TestMakeBeforeBreak(t *testing.T) {
	s := opened(t, Config{Timing: Timing{Life: 20 * time.Second, LifeSpread: 10 * time.Second}})
	a, callA := s.followed(1, 1)
	b, callB := s.submit(2, false)
	s.said(1)
	s.pass(10 * time.Second)
	gen := s.dialed()
	s.m.DialFailed(s.now, gen, fault(wire.CodeUnavailable, "no", false), false)
	phase, _ := s.m.Phase()
	require.Equal(t, Connected, phase, "the old one still serves")
	s.pass(time.Second)
	s.open(never)
	m := s.says(3, wire.TypeSubscribe)
	require.EqualValues(t, 1, m.After)
	require.Equal(t, a, m.ID)
	s.get(1, wire.ServerMessage{Type: wire.TypeLag, ID: a, LastSeq: 9}) // of the old one: it does not matter
	s.get(3, page(m.Ref, a, 1, false))
	s.pass(time.Second)
	require.Empty(t, s.drops, "b has no answer yet")
	s.get(1, wire.ServerMessage{Type: wire.TypeAck, ID: b, Seq: 1, Epoch: 5})
	m = s.says(3, wire.TypeSubscribe) // accepted there, followed here
	require.Equal(t, b, m.ID)
	s.get(1, wire.ServerMessage{Type: wire.TypeChunk, ID: b, Seq: 2, Attempt: 1, Data: []byte(`1`)})
	s.get(3, page(m.Ref, b, 2, false, wire.ServerMessage{Type: wire.TypeChunk, Seq: 2, Attempt: 1, Data: []byte(`1`)}))
	s.pass(time.Second)
	require.Equal(t, []int{1}, s.drops)
	s.get(3, wire.ServerMessage{Type: wire.TypeResult, ID: a, Seq: 2}, wire.ServerMessage{Type: wire.TypeResult, ID: b, Seq: 3})
	require.NotNil(t, callA.Reader.End())
	require.NotNil(t, callB.Reader.End())
	require.Empty(t, s.m.old)
}

func TestDrainIsBounded(t *testing.T) {
	s := opened(t, Config{Timing: Timing{Life: 20 * time.Second, LifeSpread: 10 * time.Second, AnswerRequest: time.Hour}})
	id, _ := s.submit(1, false)
	s.said(1)
	s.pass(10 * time.Second)
	s.open(never)
	s.pass(30*time.Second - 1)
	require.Empty(t, s.drops)
	s.pass(drainStep)
	require.Equal(t, []int{1}, s.drops)
	require.Equal(t, id, s.says(2, wire.TypeRequest).ID, "what has no answer moves")
}

func TestClosing(t *testing.T) {
	yes, no := true, false
	s := opened(t, Config{})
	s.get(1, wire.ServerMessage{Type: wire.TypeClosing, Reason: "shutdown", Reconnect: &yes, AfterMs: 5000})
	_, call := s.submit(1, false)
	s.silent(1) // requests wait for the next connection
	s.lost(1, wire.CloseRestart)
	s.pass(5*time.Second - 1)
	require.Empty(t, s.dials, "a random part of afterMs first")
	s.pass(1)
	s.open(never)
	s.says(2, wire.TypeRequest)
	s.get(2, wire.ServerMessage{Type: wire.TypeClosing, Reason: "overloaded", Reconnect: &no})
	s.pass(time.Minute)
	require.Empty(t, s.dials)
	s.lost(2, wire.CloseTryLater)
	failed(t, call, wire.CodeUnavailable)

	for code, again := range map[int]bool{wire.CloseNormal: false, wire.CloseUnsupportedData: false, wire.CloseTokenExpired: true, 1006: true, 4999: true} {
		s = opened(t, Config{})
		s.lost(1, code)
		s.pass(time.Minute)
		require.Equal(t, again, len(s.dials) == 1, code)
	}
}

func TestTokenIsRenewed(t *testing.T) {
	s := newStage(t, Config{CanRefresh: true, Timing: Timing{Ping: 24 * time.Hour}})
	s.open(10 * time.Minute)
	s.pass(9*time.Minute - 1)
	require.Zero(t, s.fetch)
	s.pass(1)
	require.Equal(t, 1, s.fetch)
	s.said(1)
	s.m.Token(s.now, "t", 10*time.Minute, true, false) // the same: asked again a little later
	s.pass(49 * time.Second)
	require.Equal(t, 2, s.fetch)
	s.get(1, pong)
	s.m.Token(s.now, "", 0, false, true) // none: again with backoff
	s.pass(2 * time.Second)
	require.Equal(t, 3, s.fetch)
	s.m.Token(s.now, "u", time.Hour, false, false)
	s.look()
	m := s.says(1, wire.TypeAuth)
	require.Equal(t, "u", m.Token)
	s.get(1, wire.ServerMessage{Type: wire.TypeOK, Ref: m.Ref})
	s.pass(30 * time.Minute)
	require.Equal(t, 3, s.fetch)
	require.Empty(t, s.dials)
}

func TestExpiredToken(t *testing.T) {
	s := newStage(t, Config{CanRefresh: true})
	s.open(never)
	id, call := s.submit(1, false)
	s.said(1)
	followed, _ := s.followed(1, 2)
	s.get(1, refusal(id, "", wire.CodeTokenExpired, false))
	require.Equal(t, 1, s.fetch)
	_, _ = s.submit(3, false)
	s.get(1, wire.ServerMessage{Type: wire.TypeLag, ID: followed, LastSeq: 3})
	s.silent(1) // nothing but auth
	s.m.Token(s.now, "t", never, false, false)
	s.look()
	m := s.says(1, wire.TypeAuth)
	s.get(1, wire.ServerMessage{Type: wire.TypeOK, Ref: m.Ref})
	require.Len(t, s.said(1), 3, "both requests and the subscribe")

	// A token of another subject needs another connection.
	s.get(1, refusal(id, "", wire.CodeTokenExpired, false))
	s.m.Token(s.now, "u", never, false, false)
	s.look()
	m = s.says(1, wire.TypeAuth)
	s.get(1, refusal("", m.Ref, wire.CodeReconnectRequired, false))
	s.open(never)
	require.Contains(t, []string{wire.TypeRequest, wire.TypeSubscribe}, s.sent[2][0].Type)

	// One that is refused: the connect tells whether there is hope.
	s.said(2)
	s.get(2, refusal(id, "", wire.CodeTokenExpired, false))
	s.m.Token(s.now, "v", never, false, false)
	s.look()
	m = s.says(2, wire.TypeAuth)
	s.get(2, refusal("", m.Ref, wire.CodeUnauthorized, false))
	s.pass(time.Minute)
	s.m.DialFailed(s.now, s.dialed(), fault(wire.CodeUnauthorized, "no", true), true)
	failed(t, call, wire.CodeUnauthorized)
}

func TestExpiredTokenAndNoOther(t *testing.T) {
	s := opened(t, Config{})
	id, call := s.submit(1, false)
	s.said(1)
	s.get(1, refusal(id, "", wire.CodeTokenExpired, true))
	failed(t, call, wire.CodeTokenExpired)
	require.Zero(t, s.fetch)
}

func TestOpenedTooLate(t *testing.T) {
	s := newStage(t, Config{})
	gen := s.dialed()
	s.m.Close(s.now)
	s.m.Opened(s.now, gen, never)
	s.look()
	require.Equal(t, []int{gen}, s.drops)
	s.get(gen, pong)
	s.lost(gen, 0)
	s.m.Foreign(s.now, gen)
	s.m.Token(s.now, "t", never, false, false)
	s.m.DialFailed(s.now, gen, fault(wire.CodeUnavailable, "", false), false)
	require.Equal(t, never, s.m.Next())
}

func TestUnknownMessagesAreIgnored(t *testing.T) {
	s := opened(t, Config{})
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
		pong,
	} {
		s.get(1, m)
	}
	require.Zero(t, s.moans)
	s.get(1, wire.ServerMessage{Type: wire.TypeError, Code: wire.CodeInvalidBatch})
	require.Equal(t, 1, s.moans)
	s.silent(1)
}

func TestTimersFireInOrder(t *testing.T) {
	w := newWorld(t, 7, Config{})
	var h timers
	all := make([]*timer, 200)
	for i := range all {
		all[i] = &timer{}
		h.set(all[i], time.Duration(w.rnd.IntN(100)))
	}
	for range 500 {
		x := all[w.rnd.IntN(len(all))]
		switch w.rnd.IntN(3) {
		case 0:
			h.stop(x)
		case 1:
			h.set(x, never)
		default:
			h.set(x, time.Duration(w.rnd.IntN(100)))
		}
	}
	set := 0
	for _, x := range all {
		if x.index > 0 {
			set++
		}
	}
	last := time.Duration(-1)
	for x := h.due(1000); x != nil; x = h.due(1000) {
		require.GreaterOrEqual(t, x.at, last)
		last = x.at
		set--
	}
	require.Zero(t, set)
	require.Equal(t, never, h.next())
}
