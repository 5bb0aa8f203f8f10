package client

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startLarge starts a call on a client that buffers 16 KiB, and returns all
// its events: an ack, ten chunks of 4 KiB, and a result.
func startLarge(t *testing.T) (call *Call[string, string], p *serverConn, events []wire.ServerMessage) {
	c, p := connect(t, &Options{Buffer: 1})
	call, err := Action[params, string, string]("large").With(params{}).Start(testContext(t), c)
	require.NoError(t, err)
	id := p.expect(wire.TypeRequest).ID
	events = append(events, ackMsg(id))
	for seq := uint64(2); seq < 12; seq++ {
		events = append(events, chunkMsg(id, seq, `"`+strings.Repeat("x", 4<<10)+`"`))
	}
	return call, p, append(events, resultMsg(id, 12, `"done"`))
}

func TestSlowReader(t *testing.T) {
	call, p, events := startLarge(t)
	for _, e := range events[:11] {
		p.send(e)
	}
	stop := p.expect(wire.TypeUnsubscribe) // the buffer is full and nobody reads
	p.send(okMsg(stop.Ref))
	p.send(progressMsg(call.ID(), 1, 1, 50))
	read := inBackground(t, func() (seqs []uint64, err error) {
		for e, err := range call.Events(testContext(t)) {
			if err != nil {
				return seqs, err
			}
			if e.Kind == KindChunk {
				seqs = append(seqs, e.Seq)
				call.sub.client.mu.Lock()
				size := call.sub.call.Reader.BufferSize()
				call.sub.client.mu.Unlock()
				assert.Less(t, size, 16<<10+3*(5<<10))
			}
		}
		return seqs, nil
	})
	for last := uint64(0); last < 12; {
		m := p.expect(wire.TypeSubscribe)
		last = min(m.After+2, 12)
		p.send(snapshotMsg(m.Ref, call.ID(), 12, last < 12, events[m.After:last]...))
	}
	read.requireResult([]uint64{2, 3, 4, 5, 6, 7, 8, 9, 10, 11})
}

func TestResultWithoutReading(t *testing.T) {
	call, p, events := startLarge(t)
	result := inBackground(t, func() (string, error) { return call.Result(testContext(t)) })
	for _, e := range events {
		p.send(e)
	}
	go func() { // the client may have unsubscribed before Result waited
		for m := range p.messages {
			switch m.Type {
			case wire.TypeUnsubscribe:
				p.send(okMsg(m.Ref))
			case wire.TypeSubscribe:
				p.send(snapshotMsg(m.Ref, m.ID, 12, false, events[m.After:]...))
			}
		}
	}()
	result.requireResult("done")
	all := readEvents(t, call) // they are fetched again
	require.Len(t, all, 11)
	require.EqualValues(t, 12, all[10].Seq)
}

func TestReadingIsExclusiveAndContinues(t *testing.T) {
	c, p := connect(t, nil)
	call, id := startReport(t, c, p)
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

	call, _ = startReport(t, c, p)
	call.Detach()
	call.Detach()
	_, err := call.Result(testContext(t))
	require.ErrorIs(t, err, ErrDetached)
}

func TestAttachedIsNotFound(t *testing.T) {
	c, p := connect(t, nil)
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
	c, p := connect(t, &Options{MaxCalls: 1})
	startReport(t, c, p)
	_, err := report.With(params{}).Start(testContext(t), c)
	require.ErrorIs(t, err, &Error{Code: CodeOverloaded})
}
