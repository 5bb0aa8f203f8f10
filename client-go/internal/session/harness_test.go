package session

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

// stage is a machine whose server is the test. Jitter is as long as it can be.
type harness struct {
	t       *testing.T
	machine *Machine
	now     time.Duration
	// outputs that the test has not looked at.
	sent         map[int][]wire.ClientMessage
	dials        []int
	closedConns  []int
	tokenFetches int
	warnings     int
}

func newHarness(t *testing.T, cfg Config) *harness {
	if cfg.Buffer == 0 {
		cfg.Buffer = 100_000
	}
	if cfg.MaxCalls == 0 {
		cfg.MaxCalls = 100
	}
	cfg.Jitter = func(d time.Duration) time.Duration { return d }
	s := &harness{t: t, machine: New(cfg), sent: map[int][]wire.ClientMessage{}}
	s.machine.Start(0)
	s.collect()
	return s
}

// opened is a stage with a connection, of generation 1.
func newConnectedHarness(t *testing.T, cfg Config) *harness {
	s := newHarness(t, cfg)
	s.connect(noDeadline)
	return s
}

// open lets the dial that is under way succeed and returns its generation.
func (s *harness) connect(until time.Duration) int {
	s.t.Helper()
	gen := s.takeDial()
	s.machine.Opened(s.now, gen, until)
	s.collect()
	return gen
}

// dialed returns the generation that is being dialled.
func (s *harness) takeDial() int {
	s.t.Helper()
	require.Len(s.t, s.dials, 1, "dials")
	gen := s.dials[0]
	s.dials = nil
	return gen
}

func (s *harness) collect() {
	for _, o := range s.machine.Outputs() {
		switch o.Verb {
		case Send:
			items, _, err := wire.DecodeClientFrame(o.Body)
			require.Nil(s.t, err)
			require.Nil(s.t, items[0].Err, "%s", o.Body)
			s.sent[o.Conn] = append(s.sent[o.Conn], items[0].Message)
		case Dial:
			s.dials = append(s.dials, o.Conn)
		case CloseConn:
			s.closedConns = append(s.closedConns, o.Conn)
		case FetchToken:
			s.tokenFetches++
		case LogWarning:
			s.warnings++
		}
	}
}

// pass lets time pass.
func (s *harness) advance(d time.Duration) {
	for end := s.now + d; ; {
		next := s.machine.NextDeadline()
		if next > end {
			s.now = end
			return
		}
		s.now = max(s.now, next)
		s.machine.RunTimers(s.now)
		s.collect()
	}
}

// get has messages come on a connection.
func (s *harness) receive(conn int, msgs ...wire.ServerMessage) {
	s.machine.Received(s.now, conn, msgs)
	s.collect()
}

// said returns what was sent on a connection since it was asked last.
func (s *harness) takeSent(conn int) []wire.ClientMessage {
	out := s.sent[conn]
	s.sent[conn] = nil
	return out
}

// says expects exactly one message.
func (s *harness) expectSent(conn int, kind string) wire.ClientMessage {
	s.t.Helper()
	all := s.takeSent(conn)
	require.Len(s.t, all, 1)
	require.Equal(s.t, kind, all[0].Type)
	return all[0]
}

func (s *harness) expectNothingSent(conn int) {
	s.t.Helper()
	require.Empty(s.t, s.takeSent(conn))
}

func (s *harness) loseConn(conn, code int) {
	s.machine.ConnLost(s.now, conn, code)
	s.collect()
}

// submit sends a request with an id made of n.
func (s *harness) submit(n int64, sync bool) (string, *Call) {
	s.t.Helper()
	id := wire.NewIDAt(time.UnixMilli(n))
	c := wire.ClientMessage{Type: wire.TypeRequest, ID: id, Action: "a"}
	call, err := s.machine.Submit(s.now, &Request{ID: id, Body: c.Append(nil), Sync: sync, Hash: uint64(n)})
	require.Nil(s.t, err)
	s.collect()
	return id, call
}

// followed is a call that is accepted.
func (s *harness) submitAccepted(conn int, n int64) (string, *Call) {
	s.t.Helper()
	id, call := s.submit(n, false)
	s.expectSent(conn, wire.TypeRequest)
	s.receive(conn, wire.ServerMessage{Type: wire.TypeAck, ID: id, Seq: 1, Epoch: 5})
	return id, call
}

func requireFailed(t *testing.T, call *Call, code string) {
	t.Helper()
	require.NotNil(t, call.Reader.End())
	require.NotNil(t, call.Reader.End().Err)
	require.Equal(t, code, call.Reader.End().Err.Code)
}

func errorMsg(id, ref, code string, final bool) wire.ServerMessage {
	m := wire.ErrorMessage(code, "because", final)
	m.ID, m.Ref = id, ref
	return m
}

func snapshotMsg(ref, id string, lastSeq uint64, more bool, events ...wire.ServerMessage) wire.ServerMessage {
	return wire.ServerMessage{Type: wire.TypeSnapshot, Ref: ref, ID: id, Epoch: 5, Status: "running", Attempt: 1, LastSeq: lastSeq, More: &more, Events: events}
}
