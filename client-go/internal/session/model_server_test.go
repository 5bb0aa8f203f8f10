package session

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// modelCall is a call on the model server, with all its events, also the
// discarded ones.
type modelCall struct {
	id      string
	epoch   int64
	events  []wire.ServerMessage
	keep    uint64
	attempt int
	rev     uint64
	steps   int
}

func (c *modelCall) lastSeq() uint64 { return uint64(len(c.events)) }

func (c *modelCall) ended() bool { return c.events[len(c.events)-1].Type == wire.TypeResult }

// isDiscarded says whether a later attempt mark covers the event.
func (c *modelCall) isDiscarded(seq uint64) bool {
	for i := range c.events {
		if m := &c.events[i]; m.Type == wire.TypeAttempt && m.Keep < seq && seq < m.Seq {
			return true
		}
	}
	return false
}

// chunks returns the seqs of the chunks that are not discarded.
func (c *modelCall) chunks() (seqs []uint64) {
	for i := range c.events {
		if m := &c.events[i]; m.Type == wire.TypeChunk && !c.isDiscarded(m.Seq) {
			seqs = append(seqs, m.Seq)
		}
	}
	return seqs
}

// snapshot returns the answer to a subscribe, with at most limit events.
func (c *modelCall) snapshot(after uint64, epoch int64, limit int) (m wire.ServerMessage) {
	m = wire.ServerMessage{
		Type: wire.TypeSnapshot, ID: c.id, Epoch: c.epoch, Action: "a", Status: "running",
		Attempt: c.attempt, Keep: c.keep, LastSeq: c.lastSeq(), More: new(false),
	}
	if epoch != 0 && epoch != c.epoch {
		after, m.Recovered = 0, new(false)
	}
	if c.rev > 0 {
		m.Progress = &wire.Progress{Attempt: c.attempt, Rev: c.rev}
	}
	if c.ended() {
		m.Status = "succeeded"
	}
	for _, e := range c.events {
		if e.Seq <= after || c.isDiscarded(e.Seq) {
			continue
		}
		if *m.More = len(m.Events) == limit; *m.More {
			break
		}
		if e.ID = ""; e.Type == wire.TypeAttempt {
			e.From = e.Keep + 1
		}
		m.Events = append(m.Events, e)
	}
	return m
}

// modelServer is a simple server that keeps to the protocol.
type modelServer struct {
	sim       *simulation
	calls     map[string]*modelCall
	keyOwners map[string]string // the call that has the idempotency key of a request
	subs      map[int]map[string]bool
	epoch     int64
}

// handle does what a client's message asks for.
func (s *modelServer) handle(conn int, m *wire.ClientMessage) {
	subs := s.subs[conn]
	if subs == nil {
		return // the connection is gone
	}
	sim := s.sim
	answer := func(a wire.ServerMessage) { a.Ref = m.Ref; sim.toClient(conn, a) }
	if sim.faulty() && sim.random.IntN(40) == 0 && m.Type != wire.TypePing {
		refusal := wire.ErrorMessage(wire.CodeUnavailable, "not now", false)
		if m.Type == wire.TypeRequest {
			refusal.ID = m.ID
		}
		answer(refusal)
		return
	}
	c := s.calls[m.ID]
	switch m.Type {
	case wire.TypePing:
		answer(wire.ServerMessage{Type: wire.TypePong})
	case wire.TypeRequest:
		s.request(conn, m)
	case wire.TypeSubscribe:
		if c == nil {
			answer(wire.ErrorMessage(wire.CodeNotFound, "no such stream", true))
			return
		}
		p := c.snapshot(m.After, m.Epoch, 1+sim.random.IntN(20))
		subs[m.ID] = !*p.More
		answer(p)
	case wire.TypeUnsubscribe:
		delete(subs, m.ID)
		answer(wire.ServerMessage{Type: wire.TypeOK})
	}
}

func (s *modelServer) request(conn int, m *wire.ClientMessage) {
	sim, subs := s.sim, s.subs[conn]
	if m.Action == "inline" {
		sim.schedule(sim.randomBelow(time.Second), func() {
			if s.subs[conn] != nil {
				sim.toClient(conn, wire.ServerMessage{Type: wire.TypeResult, ID: m.ID, Payload: json.RawMessage(`"inline"`)})
			}
		})
		return
	}
	id := m.ID
	if owner := s.keyOwners[id]; owner != "" {
		id = owner
	}
	c := s.calls[id]
	if c == nil {
		c = s.accept(id)
		subs[id] = true
		sim.toClient(conn, wire.ServerMessage{Type: wire.TypeAck, ID: id, Seq: 1, Epoch: c.epoch})
		return
	}
	p := c.snapshot(0, 0, 1+sim.random.IntN(20))
	subs[id] = !*p.More
	if id != m.ID {
		p.For = m.ID
	}
	sim.toClient(conn, p)
}

func (s *modelServer) accept(id string) *modelCall {
	s.epoch++
	c := &modelCall{id: id, epoch: s.epoch, attempt: 1, keep: 1, steps: s.sim.random.IntN(200)}
	c.events = []wire.ServerMessage{{Type: wire.TypeAck, Seq: 1, Epoch: c.epoch}}
	s.calls[id] = c
	s.scheduleStep(c)
	return c
}

// scheduleStep schedules the next step of a call's handler.
func (s *modelServer) scheduleStep(c *modelCall) {
	sim := s.sim
	pause := sim.randomBelow(time.Duration(1+sim.random.IntN(1000)) * time.Millisecond)
	if sim.random.IntN(3) == 0 {
		pause = 0
	}
	sim.schedule(pause, func() {
		if s.calls[c.id] == c && !c.ended() { // resetCalls replaces calls
			s.runStep(c)
			s.scheduleStep(c)
		}
	})
}

func (s *modelServer) runStep(c *modelCall) {
	rnd := s.sim.random
	if c.steps--; c.steps < 0 {
		s.appendEvent(c, wire.ServerMessage{Type: wire.TypeResult, Payload: fmt.Appendf(nil, "%d", len(c.chunks()))})
		return
	}
	switch n := rnd.IntN(20); {
	case n == 0:
		from := c.lastSeq() + 1
		if rnd.IntN(2) == 0 {
			from = c.keep + 1
		}
		c.attempt++
		c.rev = 0
		s.appendEvent(c, wire.ServerMessage{Type: wire.TypeAttempt, Attempt: c.attempt, Keep: c.keep, From: from, Code: wire.CodeWorkerLost})
	case n == 1:
		if seqs := c.chunks(); len(seqs) > 0 {
			c.keep = seqs[len(seqs)-1]
		}
	case n < 5:
		c.rev++
		s.broadcast(c.id, wire.ServerMessage{Type: wire.TypeProgress, Attempt: c.attempt, Rev: c.rev}, false)
	default:
		seq := c.lastSeq() + 1
		s.appendEvent(c, wire.ServerMessage{Type: wire.TypeChunk, Attempt: c.attempt, Data: fmt.Appendf(nil, `"%d.%d"`, c.epoch, seq)})
	}
}

// appendEvent adds an event to the call and sends it to all subscribers.
func (s *modelServer) appendEvent(c *modelCall, m wire.ServerMessage) {
	m.Seq = c.lastSeq() + 1
	c.events = append(c.events, m)
	s.broadcast(c.id, m, true)
}

func (s *modelServer) broadcast(id string, m wire.ServerMessage, durable bool) {
	m.ID = id
	for _, conn := range slices.Sorted(maps.Keys(s.subs)) {
		live, follows := s.subs[conn][id]
		switch {
		case !follows || durable && !live:
		case durable && s.sim.faulty() && s.sim.random.IntN(30) == 0:
			s.subs[conn][id] = false
			s.sim.toClient(conn, wire.ServerMessage{Type: wire.TypeLag, ID: id, LastSeq: m.Seq})
		default:
			s.sim.toClient(conn, m)
		}
	}
}

// resetCalls begins a new history of every call that has not ended, as if the
// server had lost its data.
func (s *modelServer) resetCalls() {
	for _, id := range slices.Sorted(maps.Keys(s.calls)) {
		if !s.calls[id].ended() {
			s.accept(id)
		}
	}
}
