package session

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

// harness is a machine whose server is played by the test. Jitter is the
// longest possible.
type harness struct {
	t       *testing.T
	machine *Machine
	now     time.Duration
	// What the machine has put out and the test has not checked yet.
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
	h := &harness{t: t, machine: New(cfg), sent: map[int][]wire.ClientMessage{}}
	h.machine.Start(0)
	h.collect()
	return h
}

// newConnectedHarness returns a harness with a connection of generation 1.
func newConnectedHarness(t *testing.T, cfg Config) *harness {
	h := newHarness(t, cfg)
	h.connect(noDeadline)
	return h
}

// connect lets the pending dial succeed and returns its generation.
func (h *harness) connect(until time.Duration) int {
	h.t.Helper()
	gen := h.takeDial()
	h.machine.Opened(h.now, gen, until)
	h.collect()
	return gen
}

// takeDial returns the generation of the pending dial.
func (h *harness) takeDial() int {
	h.t.Helper()
	require.Len(h.t, h.dials, 1, "dials")
	gen := h.dials[0]
	h.dials = nil
	return gen
}

func (h *harness) collect() {
	for _, o := range h.machine.Outputs() {
		switch o.Verb {
		case Send:
			items, _, err := wire.DecodeClientFrame(o.Body)
			require.Nil(h.t, err)
			require.Nil(h.t, items[0].Err, "%s", o.Body)
			h.sent[o.Conn] = append(h.sent[o.Conn], items[0].Message)
		case Dial:
			h.dials = append(h.dials, o.Conn)
		case CloseConn:
			h.closedConns = append(h.closedConns, o.Conn)
		case FetchToken:
			h.tokenFetches++
		case LogWarning:
			h.warnings++
		}
	}
}

// advance moves the clock and runs the timers that are due.
func (h *harness) advance(d time.Duration) {
	for end := h.now + d; ; {
		next := h.machine.NextDeadline()
		if next > end {
			h.now = end
			return
		}
		h.now = max(h.now, next)
		h.machine.RunTimers(h.now)
		h.collect()
	}
}

// receive passes messages to the machine.
func (h *harness) receive(conn int, msgs ...wire.ServerMessage) {
	h.machine.Received(h.now, conn, msgs)
	h.collect()
}

// takeSent returns what was sent on a connection since the last call.
func (h *harness) takeSent(conn int) []wire.ClientMessage {
	out := h.sent[conn]
	h.sent[conn] = nil
	return out
}

// expectSent expects exactly one message.
func (h *harness) expectSent(conn int, kind string) wire.ClientMessage {
	h.t.Helper()
	all := h.takeSent(conn)
	require.Len(h.t, all, 1)
	require.Equal(h.t, kind, all[0].Type)
	return all[0]
}

func (h *harness) expectNothingSent(conn int) {
	h.t.Helper()
	require.Empty(h.t, h.takeSent(conn))
}

func (h *harness) loseConn(conn, code int) {
	h.machine.ConnLost(h.now, conn, code)
	h.collect()
}

// submit sends a request with an id made from n.
func (h *harness) submit(n int64, sync bool) (string, *Call) {
	h.t.Helper()
	id := wire.NewIDAt(time.UnixMilli(n))
	c := wire.ClientMessage{Type: wire.TypeRequest, ID: id, Action: "a"}
	call, err := h.machine.Submit(h.now, &Request{ID: id, Body: c.Append(nil), Sync: sync, Hash: uint64(n)})
	require.Nil(h.t, err)
	h.collect()
	return id, call
}

// submitAccepted sends a request and has the server accept it.
func (h *harness) submitAccepted(conn int, n int64) (string, *Call) {
	h.t.Helper()
	id, call := h.submit(n, false)
	h.expectSent(conn, wire.TypeRequest)
	h.receive(conn, wire.ServerMessage{Type: wire.TypeAck, ID: id, Seq: 1, Epoch: 5})
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
