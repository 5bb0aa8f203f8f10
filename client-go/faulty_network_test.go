package client

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	inline Action[int, None, int] = "inline"
	stream Action[int, int, int]  = "stream"
)

// TestManyCallsOverFaultyNetwork runs many concurrent calls while connections
// break and frames are duplicated, reordered and left out.
func TestManyCallsOverFaultyNetwork(t *testing.T) {
	h := newServer(t)
	server := &faultyServer{calls: map[string][]wire.ServerMessage{}}
	h.serve(server.serveConn)
	c := h.newClient(nil)
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			n, err := inline.With(i).Await(testContext(t), c)
			assert.NoError(t, err, "inline")
			assert.Equal(t, i, n, "inline")
		})
		wg.Go(func() {
			var want []int
			for k := range i % 40 {
				want = append(want, k)
			}
			n, chunks, err := stream.With(i%40).Collect(testContext(t), c)
			assert.NoError(t, err, "stream")
			assert.Equal(t, i%40, n, "stream")
			assert.Equal(t, want, chunks, "stream")
		})
	}
	wg.Wait()
	require.NotZero(t, server.broken.Load())
}

// faultyServer answers by itself: a call of "inline" at once, a call of "stream"
// is stored and sends as many chunks as its payload says. It breaks connections,
// leaves out events, and sends frames twice or in the wrong order.
type faultyServer struct {
	broken atomic.Int32 // connections

	mu    sync.Mutex
	calls map[string][]wire.ServerMessage // all events
}

func (s *faultyServer) serveConn(p *serverConn) {
	remaining := 50 + rand.IntN(500) // messages until the connection breaks
	for m := range p.messages {
		if remaining--; remaining == 0 {
			s.broken.Add(1)
			p.breakConn()
			return
		}
		s.answer(p, &m)
	}
}

func (s *faultyServer) answer(p *serverConn, m *wire.ClientMessage) {
	switch m.Type {
	case wire.TypePing:
		p.send(wire.ServerMessage{Type: wire.TypePong})
	case wire.TypeUnsubscribe, wire.TypeCancel:
		p.send(okMsg(m.Ref))
	case wire.TypeSubscribe:
		s.sendPage(p, m.Ref, m.ID, m.After)
	case wire.TypeRequest:
		if m.Action == "inline" {
			p.send(resultMsg(m.ID, 0, string(m.Payload)))
			return
		}
		s.mu.Lock()
		_, known := s.calls[m.ID]
		if !known {
			s.calls[m.ID] = historyOf(m)
		}
		events := s.calls[m.ID]
		s.mu.Unlock()
		if known {
			s.sendPage(p, "", m.ID, 0)
			return
		}
		s.sendHistory(p, events)
	}
}

func historyOf(m *wire.ClientMessage) []wire.ServerMessage {
	var n uint64
	_, _ = fmt.Sscan(string(m.Payload), &n)
	events := []wire.ServerMessage{ackMsg(m.ID)}
	for i := range n {
		events = append(events, chunkMsg(m.ID, i+2, fmt.Sprint(i)))
	}
	return append(events, resultMsg(m.ID, n+2, fmt.Sprint(n)))
}

// sendHistory sends all events, a few in each frame.
func (s *faultyServer) sendHistory(p *serverConn, events []wire.ServerMessage) {
	for len(events) > 0 {
		n := min(len(events), 1+rand.IntN(10))
		frame := slices.Clone(events[:n])
		switch fault := rand.IntN(10); {
		case fault == 0:
			rand.Shuffle(n, func(i, j int) { frame[i], frame[j] = frame[j], frame[i] })
		case fault == 1:
			frame = append(frame, frame...)
		case fault == 2 && frame[0].Seq > 1: // the ack is not skipped
			p.send(wire.ServerMessage{Type: wire.TypeLag, ID: frame[0].ID, LastSeq: frame[n-1].Seq})
			return
		}
		p.send(frame...)
		events = events[n:]
	}
}

// sendPage answers with the next ten events after a seq.
func (s *faultyServer) sendPage(p *serverConn, ref, id string, after uint64) {
	s.mu.Lock()
	all := s.calls[id]
	s.mu.Unlock()
	if all == nil {
		p.send(errorMsg("", ref, CodeNotFound, true))
		return
	}
	rest := all[min(after, uint64(len(all))):] // the first event has seq 1
	events := rest[:min(10, len(rest))]
	p.send(snapshotMsg(ref, id, uint64(len(all)), len(events) < len(rest), events...))
}
