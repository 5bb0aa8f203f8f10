package client

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// robot plays the server by itself: "inline" is answered at once, "stream" is
// stored and sends as many chunks as its payload says. It may cut connections,
// and send things twice or in the wrong order.
type autoServer struct {
	server *scriptedServer
	faulty bool
	cuts   atomic.Int32

	mu    sync.Mutex
	calls map[string][]wire.ServerMessage // the whole history
}

func newAutoServer(h *scriptedServer, faulty bool) *autoServer {
	r := &autoServer{server: h, faulty: faulty, calls: map[string][]wire.ServerMessage{}}
	go func() {
		for p := range h.accepted {
			go r.serveConn(p)
		}
	}()
	h.t.Cleanup(func() { close(h.accepted) })
	return r
}

func (r *autoServer) serveConn(p *serverConn) {
	left := 1 << 30
	if r.faulty {
		left = 50 + rand.IntN(500)
	}
	for {
		select {
		case m := <-p.messages:
			if left--; left == 0 {
				r.cuts.Add(1)
				p.breakConn()
				return
			}
			r.answer(p, &m)
		case <-p.closed:
			return
		}
	}
}

func (r *autoServer) answer(p *serverConn, m *wire.ClientMessage) {
	switch m.Type {
	case wire.TypePing:
		p.send(wire.ServerMessage{Type: wire.TypePong})
	case wire.TypeUnsubscribe, wire.TypeCancel:
		p.send(okMsg(m.Ref))
	case wire.TypeSubscribe:
		r.sendPage(p, m.Ref, m.ID, m.After)
	case wire.TypeRequest:
		if m.Action == "inline" {
			p.send(resultMsg(m.ID, 0, string(m.Payload)))
			return
		}
		r.mu.Lock()
		_, known := r.calls[m.ID]
		if !known {
			r.calls[m.ID] = historyOf(m)
		}
		events := r.calls[m.ID]
		r.mu.Unlock()
		if known {
			r.sendPage(p, "", m.ID, 0)
			return
		}
		r.sendHistory(p, events)
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

// tell sends a history, in frames of a few events.
func (r *autoServer) sendHistory(p *serverConn, events []wire.ServerMessage) {
	for len(events) > 0 {
		n := min(len(events), 1+rand.IntN(10))
		frame := append([]wire.ServerMessage{}, events[:n]...)
		if r.faulty {
			switch what := rand.IntN(10); {
			case what == 0:
				rand.Shuffle(n, func(i, j int) { frame[i], frame[j] = frame[j], frame[i] })
			case what == 1:
				frame = append(frame, frame...)
			case what == 2 && frame[0].Seq > 1: // the ack is not skipped
				p.send(wire.ServerMessage{Type: wire.TypeLag, ID: frame[0].ID, LastSeq: frame[n-1].Seq})
				return
			}
		}
		p.send(frame...)
		events = events[n:]
	}
}

// page answers with events behind after: all of them here, or ten.
func (r *autoServer) sendPage(p *serverConn, ref, id string, after uint64) {
	r.mu.Lock()
	all := r.calls[id]
	r.mu.Unlock()
	if all == nil {
		p.send(errorMsg("", ref, CodeNotFound, true))
		return
	}
	var events []wire.ServerMessage
	for _, e := range all {
		if e.Seq > after && (!r.faulty || len(events) < 10) {
			events = append(events, e)
		}
	}
	more := len(events) > 0 && events[len(events)-1].Seq < all[len(all)-1].Seq
	p.send(snapshotMsg(ref, id, all[len(all)-1].Seq, more, events...))
}
