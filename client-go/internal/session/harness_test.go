package session

import (
	"cmp"
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
	outputs outputs
}

// outputs are what the machine has put out.
type outputs struct {
	sent         map[int][]wire.ClientMessage // what the test has not taken yet
	dials        []int                        // likewise
	closedConns  []int
	tokenFetches int
	warnings     int
}

func newHarness(t *testing.T, cfg Config) *harness {
	cfg.Buffer = 100_000
	cfg.MaxCalls = cmp.Or(cfg.MaxCalls, 100)
	cfg.Jitter = func(d time.Duration) time.Duration { return d }
	h := &harness{t: t, machine: New(cfg), outputs: outputs{sent: map[int][]wire.ClientMessage{}}}
	h.machine.Start(0)
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
	return gen
}

// takeDial returns the generation of the pending dial.
func (h *harness) takeDial() int {
	h.t.Helper()
	out := h.out()
	require.Len(h.t, out.dials, 1, "dials")
	gen := out.dials[0]
	out.dials = nil
	return gen
}

// out returns what the machine has put out.
func (h *harness) out() *outputs {
	out := &h.outputs
	for _, o := range h.machine.Outputs() {
		switch o.Verb {
		case Send:
			items, _, err := wire.DecodeClientFrame(o.Body)
			require.Nil(h.t, err)
			require.Nil(h.t, items[0].Err, "%s", o.Body)
			out.sent[o.Conn] = append(out.sent[o.Conn], items[0].Message)
		case Dial:
			out.dials = append(out.dials, o.Conn)
		case CloseConn:
			out.closedConns = append(out.closedConns, o.Conn)
		case FetchToken:
			out.tokenFetches++
		case LogWarning:
			out.warnings++
		}
	}
	return out
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
	}
}

// receive passes messages to the machine.
func (h *harness) receive(conn int, msgs ...wire.ServerMessage) {
	h.machine.Received(h.now, conn, msgs)
}

// takeSent returns what was sent on a connection since the last call.
func (h *harness) takeSent(conn int) []wire.ClientMessage {
	out := h.out()
	all := out.sent[conn]
	out.sent[conn] = nil
	return all
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

func (h *harness) loseConn(conn, code int) { h.machine.ConnLost(h.now, conn, code) }

// submit passes the machine a request with an id made from n.
func (h *harness) submit(n int64, sync bool) (string, *Call) {
	h.t.Helper()
	id := wire.NewIDAt(time.UnixMilli(n))
	c := wire.ClientMessage{Type: wire.TypeRequest, ID: id, Action: "a"}
	call, err := h.machine.Submit(h.now, &Request{ID: id, Body: c.Append(nil), Sync: sync, Hash: uint64(n)})
	require.Nil(h.t, err)
	return id, call
}

// submitSent is like submit, and expects the request to be sent.
func (h *harness) submitSent(conn int, n int64, sync bool) (string, *Call) {
	h.t.Helper()
	id, call := h.submit(n, sync)
	require.Equal(h.t, id, h.expectSent(conn, wire.TypeRequest).ID)
	return id, call
}

// submitAccepted sends a request and has the server accept it.
func (h *harness) submitAccepted(conn int, n int64) (string, *Call) {
	h.t.Helper()
	id, call := h.submitSent(conn, n, false)
	h.receive(conn, wire.ServerMessage{Type: wire.TypeAck, ID: id, Seq: 1, Epoch: 5})
	return id, call
}

// attach follows a call by its id.
func (h *harness) attach(id string) *Call {
	h.t.Helper()
	call, err := h.machine.Attach(h.now, id)
	require.Nil(h.t, err)
	return call
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

func snapshotMsg(ref, id string, lastSeq uint64, events ...wire.ServerMessage) wire.ServerMessage {
	return wire.ServerMessage{
		Type: wire.TypeSnapshot, Ref: ref, ID: id, Epoch: 5, Status: "running", Attempt: 1,
		LastSeq: lastSeq, More: new(false), Events: events,
	}
}
