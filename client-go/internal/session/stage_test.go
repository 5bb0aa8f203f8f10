package session

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

// stage is a machine whose server is the test. Jitter is as long as it can be.
type stage struct {
	t   *testing.T
	m   *Machine
	now time.Duration
	// outputs that the test has not looked at.
	sent  map[int][]wire.ClientMessage
	dials []int
	drops []int
	fetch int
	moans int
}

func newStage(t *testing.T, cfg Config) *stage {
	if cfg.Buffer == 0 {
		cfg.Buffer = 100_000
	}
	if cfg.MaxCalls == 0 {
		cfg.MaxCalls = 100
	}
	cfg.Jitter = func(d time.Duration) time.Duration { return d }
	s := &stage{t: t, m: New(cfg), sent: map[int][]wire.ClientMessage{}}
	s.m.Start(0)
	s.look()
	return s
}

// opened is a stage with a connection, of generation 1.
func opened(t *testing.T, cfg Config) *stage {
	s := newStage(t, cfg)
	s.open(never)
	return s
}

// open lets the dial that is under way succeed and returns its generation.
func (s *stage) open(until time.Duration) int {
	s.t.Helper()
	gen := s.dialed()
	s.m.Opened(s.now, gen, until)
	s.look()
	return gen
}

// dialed returns the generation that is being dialled.
func (s *stage) dialed() int {
	s.t.Helper()
	require.Len(s.t, s.dials, 1, "dials")
	gen := s.dials[0]
	s.dials = nil
	return gen
}

func (s *stage) look() {
	for _, o := range s.m.Outputs() {
		switch o.Verb {
		case Send:
			items, _, err := wire.DecodeClientFrame(o.Body)
			require.Nil(s.t, err)
			require.Nil(s.t, items[0].Err, "%s", o.Body)
			s.sent[o.Conn] = append(s.sent[o.Conn], items[0].Message)
		case Dial:
			s.dials = append(s.dials, o.Conn)
		case Drop:
			s.drops = append(s.drops, o.Conn)
		case FetchToken:
			s.fetch++
		case Complain:
			s.moans++
		}
	}
}

// pass lets time pass.
func (s *stage) pass(d time.Duration) {
	for end := s.now + d; ; {
		next := s.m.Next()
		if next > end {
			s.now = end
			return
		}
		s.now = max(s.now, next)
		s.m.Tick(s.now)
		s.look()
	}
}

// get has messages come on a connection.
func (s *stage) get(conn int, msgs ...wire.ServerMessage) {
	s.m.Received(s.now, conn, msgs)
	s.look()
}

// said returns what was sent on a connection since it was asked last.
func (s *stage) said(conn int) []wire.ClientMessage {
	out := s.sent[conn]
	s.sent[conn] = nil
	return out
}

// says expects exactly one message.
func (s *stage) says(conn int, kind string) wire.ClientMessage {
	s.t.Helper()
	all := s.said(conn)
	require.Len(s.t, all, 1)
	require.Equal(s.t, kind, all[0].Type)
	return all[0]
}

func (s *stage) silent(conn int) {
	s.t.Helper()
	require.Empty(s.t, s.said(conn))
}

func (s *stage) lost(conn, code int) {
	s.m.Lost(s.now, conn, code)
	s.look()
}

// submit sends a request with an id made of n.
func (s *stage) submit(n int64, sync bool) (string, *Call) {
	s.t.Helper()
	id := wire.NewIDAt(time.UnixMilli(n))
	c := wire.ClientMessage{Type: wire.TypeRequest, ID: id, Action: "a"}
	call, err := s.m.Submit(s.now, &Request{ID: id, Body: c.Append(nil), Sync: sync, Sum: uint64(n)})
	require.Nil(s.t, err)
	s.look()
	return id, call
}

// followed is a call that is accepted.
func (s *stage) followed(conn int, n int64) (string, *Call) {
	s.t.Helper()
	id, call := s.submit(n, false)
	s.says(conn, wire.TypeRequest)
	s.get(conn, wire.ServerMessage{Type: wire.TypeAck, ID: id, Seq: 1, Epoch: 5})
	return id, call
}

func failed(t *testing.T, call *Call, code string) {
	t.Helper()
	require.NotNil(t, call.Reader.End())
	require.NotNil(t, call.Reader.End().Err)
	require.Equal(t, code, call.Reader.End().Err.Code)
}

func refusal(id, ref, code string, final bool) wire.ServerMessage {
	m := wire.ErrorMessage(code, "because", final)
	m.ID, m.Ref = id, ref
	return m
}

func page(ref, id string, lastSeq uint64, more bool, events ...wire.ServerMessage) wire.ServerMessage {
	return wire.ServerMessage{Type: wire.TypeSnapshot, Ref: ref, ID: id, Epoch: 5, Status: "running", Attempt: 1, LastSeq: lastSeq, More: &more, Events: events}
}
