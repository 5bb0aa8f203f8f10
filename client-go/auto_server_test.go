package client

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// autoServer answers by itself: a call of "inline" at once, a call of "stream"
// is stored and sends as many chunks as its payload says. If it is faulty it
// breaks connections, and sends frames twice or in the wrong order.
type autoServer struct {
	server *scriptedServer
	faulty bool
	broken atomic.Int32 // connections

	mu    sync.Mutex
	calls map[string][]wire.ServerMessage // all events
}

func newAutoServer(h *scriptedServer, faulty bool) *autoServer {
	s := &autoServer{server: h, faulty: faulty, calls: map[string][]wire.ServerMessage{}}
	go func() {
		for p := range h.accepted {
			go s.serveConn(p)
		}
	}()
	h.t.Cleanup(func() { close(h.accepted) })
	return s
}

func (s *autoServer) serveConn(p *serverConn) {
	remaining := 1 << 30 // messages until the connection breaks
	if s.faulty {
		remaining = 50 + rand.IntN(500)
	}
	for {
		select {
		case m := <-p.messages:
			if remaining--; remaining == 0 {
				s.broken.Add(1)
				p.breakConn()
				return
			}
			s.answer(p, &m)
		case <-p.closed:
			return
		}
	}
}

func (s *autoServer) answer(p *serverConn, m *wire.ClientMessage) {
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
func (s *autoServer) sendHistory(p *serverConn, events []wire.ServerMessage) {
	for len(events) > 0 {
		n := min(len(events), 1+rand.IntN(10))
		frame := append([]wire.ServerMessage{}, events[:n]...)
		if s.faulty {
			switch fault := rand.IntN(10); {
			case fault == 0:
				rand.Shuffle(n, func(i, j int) { frame[i], frame[j] = frame[j], frame[i] })
			case fault == 1:
				frame = append(frame, frame...)
			case fault == 2 && frame[0].Seq > 1: // the ack is not skipped
				p.send(wire.ServerMessage{Type: wire.TypeLag, ID: frame[0].ID, LastSeq: frame[n-1].Seq})
				return
			}
		}
		p.send(frame...)
		events = events[n:]
	}
}

// sendPage answers with the events after a seq: all of them, or ten if it is
// faulty.
func (s *autoServer) sendPage(p *serverConn, ref, id string, after uint64) {
	s.mu.Lock()
	all := s.calls[id]
	s.mu.Unlock()
	if all == nil {
		p.send(errorMsg("", ref, CodeNotFound, true))
		return
	}
	var events []wire.ServerMessage
	for _, e := range all {
		if e.Seq > after && (!s.faulty || len(events) < 10) {
			events = append(events, e)
		}
	}
	more := len(events) > 0 && events[len(events)-1].Seq < all[len(all)-1].Seq
	p.send(snapshotMsg(ref, id, all[len(all)-1].Seq, more, events...))
}
