package client

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

func TestSlowReader(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(&Options{Buffer: 1, timing: fastTiming}) // that is 16 KiB
	type big = string
	call, err := Action[params, big, string]("big").With(params{}).Start(testContext(t), c)
	require.NoError(t, err)
	id := p.expect(wire.TypeRequest).ID
	data := `"` + strings.Repeat("x", 4<<10) + `"`
	p.send(ackMsg(id))
	for seq := uint64(2); seq < 12; seq++ {
		p.send(chunkMsg(id, seq, data))
	}
	stop := p.expect(wire.TypeUnsubscribe) // the buffer is full and nobody reads
	p.send(okMsg(stop.Ref))
	p.send(progressMsg(id, 1, 1, 50))
	served := make(chan struct{})
	go func() {
		defer close(served)
		for after := uint64(0); after < 9; {
			m := p.expect(wire.TypeSubscribe)
			after = m.After
			var events []wire.ServerMessage
			for seq := after + 1; seq < min(after+3, 12); seq++ {
				events = append(events, chunkMsg(id, seq, data))
			}
			if after >= 9 {
				events = append(events, resultMsg(id, 12, `"done"`))
			}
			p.send(snapshotMsg(m.Ref, id, 12, after < 9, events...))
		}
	}()
	var seqs []uint64
	for e, err := range call.Events(testContext(t)) {
		require.NoError(t, err)
		if e.Kind == KindChunk {
			seqs = append(seqs, e.Seq)
			c.mu.Lock()
			cost := call.sub.call.Reader.BufferSize()
			c.mu.Unlock()
			require.Less(t, cost, 16<<10+3*(5<<10))
		}
	}
	require.Equal(t, []uint64{2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, seqs)
	<-served
}

func TestResultWithoutReading(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(&Options{Buffer: 1, timing: fastTiming})
	call, err := Action[params, string, string]("big").With(params{}).Start(testContext(t), c)
	require.NoError(t, err)
	id := p.expect(wire.TypeRequest).ID
	data := `"` + strings.Repeat("x", 4<<10) + `"`
	wait := inBackground(t, func() (string, error) { return call.Result(testContext(t)) })
	p.send(ackMsg(id))
	for seq := uint64(2); seq < 12; seq++ {
		p.send(chunkMsg(id, seq, data))
	}
	p.send(resultMsg(id, 12, `"done"`))
	go func() { // the client may have unsubscribed before Result waited
		for m := range p.messages {
			switch m.Type {
			case wire.TypeUnsubscribe:
				p.send(okMsg(m.Ref))
			case wire.TypeSubscribe:
				events := []wire.ServerMessage{ackMsg(id)}
				for seq := max(2, m.After+1); seq < 12; seq++ {
					events = append(events, chunkMsg(id, seq, data))
				}
				p.send(snapshotMsg(m.Ref, id, 12, false, append(events, resultMsg(id, 12, `"done"`))...))
			}
		}
	}()
	got, err := wait()
	require.NoError(t, err)
	require.Equal(t, "done", got)
	// A later reader gets all events: they are fetched again.
	n := 0
	for e, err := range call.Events(testContext(t)) {
		require.NoError(t, err)
		if e.Kind == KindChunk {
			n++
		}
	}
	require.Equal(t, 10, n)
	p.breakConn()
	<-p.closed
	close(p.messages)
	h.acceptConn()
}

func TestLagIsFetched(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(nil)
	wait := inBackground(t, func() ([]row, error) {
		_, rows, err := report.With(params{}).Collect(testContext(t), c)
		return rows, err
	})
	id := p.expect(wire.TypeRequest).ID
	p.send(ackMsg(id), chunkMsg(id, 2, `{"n":1}`), wire.ServerMessage{Type: wire.TypeLag, ID: id, LastSeq: 4})
	m := p.expect(wire.TypeSubscribe)
	require.EqualValues(t, 2, m.After)
	p.send(snapshotMsg(m.Ref, id, 4, true, chunkMsg(id, 3, `{"n":2}`)))
	m = p.expect(wire.TypeSubscribe)
	require.EqualValues(t, 3, m.After)
	p.send(snapshotMsg(m.Ref, id, 5, false, chunkMsg(id, 4, `{"n":3}`), resultMsg(id, 5, `"x"`)))
	rows, err := wait()
	require.NoError(t, err)
	require.Equal(t, []row{{1}, {2}, {3}}, rows)
}

func TestReadingIsExclusiveAndContinues(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(nil)
	call, err := report.With(params{}).Start(testContext(t), c)
	require.NoError(t, err)
	id := p.expect(wire.TypeRequest).ID
	p.send(ackMsg(id), chunkMsg(id, 2, `{"n":1}`), chunkMsg(id, 3, `"no row"`), chunkMsg(id, 4, `{"n":3}`), resultMsg(id, 5, `"x"`))
	var got []string
	for e := range call.Events(testContext(t)) {
		got = append(got, fmt.Sprint(e.Seq))
		for _, err := range call.Events(testContext(t)) {
			require.ErrorContains(t, err, "one reader at a time")
		}
		break
	}
	for e, err := range call.Events(testContext(t)) { // continues after the first
		got = append(got, fmt.Sprint(e.Seq, err != nil))
	}
	require.Equal(t, []string{"2", "3 true", "4 false", "5 false"}, got)

	call, err = report.With(params{}).Start(testContext(t), c)
	require.NoError(t, err)
	p.expect(wire.TypeRequest)
	call.Detach()
	call.Detach()
	_, err = call.Result(testContext(t))
	require.ErrorIs(t, err, ErrDetached)
}

func TestAttachedIsNotFound(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(nil)
	_, err := report.Attach(c, "x")
	require.ErrorIs(t, err, &Error{Code: CodeInvalidMessage})
	id := NewID()
	call, err := report.Attach(c, id)
	require.NoError(t, err)
	m := p.expect(wire.TypeSubscribe)
	p.send(errorMsg("", m.Ref, CodeNotFound, true))
	require.ErrorIs(t, call.Accepted(testContext(t)), &Error{Code: CodeNotFound})
	_, err = call.Result(testContext(t))
	require.ErrorIs(t, err, &Error{Code: CodeNotFound})
}

func TestTooManyCalls(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(&Options{MaxCalls: 1, timing: fastTiming})
	_, err := report.With(params{}).Start(testContext(t), c)
	require.NoError(t, err)
	p.expect(wire.TypeRequest)
	_, err = report.With(params{}).Start(testContext(t), c)
	require.ErrorIs(t, err, &Error{Code: CodeOverloaded})
}
