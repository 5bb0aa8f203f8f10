package session

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// modelCall is a call on the model server: its whole log, what is void too.
type modelCall struct {
	id      string
	epoch   int64
	log     []wire.ServerMessage
	keep    uint64
	attempt int
	rev     uint64
	flagged bool
	steps   int
	life    int // counts wipes: steps of an earlier life do nothing
}

func (c *modelCall) last() uint64 { return uint64(len(c.log)) }

func (c *modelCall) ended() bool {
	return len(c.log) > 0 && (c.log[len(c.log)-1].Type == wire.TypeResult || c.log[len(c.log)-1].Type == wire.TypeError)
}

// void tells whether a later mark stands for the event.
func (c *modelCall) void(seq uint64) bool {
	for i := range c.log {
		if m := &c.log[i]; m.Type == wire.TypeAttempt && m.Keep < seq && seq < m.Seq {
			return true
		}
	}
	return false
}

// chunks are the seqs of the chunks that are not void.
func (c *modelCall) chunks() (seqs []uint64) {
	for i := range c.log {
		if m := &c.log[i]; m.Type == wire.TypeChunk && !c.void(m.Seq) {
			seqs = append(seqs, m.Seq)
		}
	}
	return seqs
}

// page returns what a subscribe is answered.
func (c *modelCall) page(after uint64, epoch int64, most int) (m wire.ServerMessage) {
	recovered := epoch == 0 || epoch == c.epoch
	if !recovered {
		after = 0
	}
	m = wire.ServerMessage{
		Type: wire.TypeSnapshot, ID: c.id, Epoch: c.epoch, Action: "a", Status: "running",
		Attempt: c.attempt, Keep: c.keep, LastSeq: c.last(), CancelRequested: c.flagged,
	}
	if !recovered {
		m.Recovered = new(bool)
	}
	if c.rev > 0 {
		m.Progress = &wire.Progress{Attempt: c.attempt, Rev: c.rev}
	}
	if c.ended() {
		m.Status = "succeeded"
	}
	more := false
	for i := range c.log {
		e := c.log[i]
		if e.Seq <= after || c.void(e.Seq) {
			continue
		}
		if len(m.Events) == most {
			more = true
			break
		}
		if e.ID = ""; e.Type == wire.TypeAttempt {
			e.From = e.Keep + 1
		}
		m.Events = append(m.Events, e)
	}
	m.More = &more
	return m
}

// modelServer accepts, works and tells, as the protocol has it.
type modelServer struct {
	w     *world
	calls map[string]*modelCall
	keys  map[string]string // of requests that hit another's key
	subs  map[int]map[string]bool
	runs  map[string]int // inline
	epoch int64
}

// take does what a message of a client asks for.
func (s *modelServer) take(conn int, m *wire.ClientMessage) {
	subs := s.subs[conn]
	if subs == nil {
		return // the connection is gone
	}
	w := s.w
	answer := func(a wire.ServerMessage) { a.Ref = m.Ref; w.toClient(conn, a) }
	if w.chaos() && w.rnd.IntN(40) == 0 && m.Type != wire.TypePing {
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
		p := c.page(m.After, m.Epoch, 1+w.rnd.IntN(20))
		subs[m.ID] = !*p.More
		answer(p)
	case wire.TypeUnsubscribe:
		delete(subs, m.ID)
		answer(wire.ServerMessage{Type: wire.TypeOK})
	case wire.TypeCancel:
		if c != nil && c.ended() {
			answer(c.page(0, 0, 5))
			return
		}
		if c != nil {
			c.flagged = true
		}
		answer(wire.ServerMessage{Type: wire.TypeOK})
	}
}

func (s *modelServer) request(conn int, m *wire.ClientMessage) {
	w, subs := s.w, s.subs[conn]
	if m.Mode == wire.ModeSync || m.Action == "inline" {
		s.runs[m.ID]++
		w.after(w.upTo(time.Second), func() {
			if s.subs[conn] != nil {
				w.toClient(conn, wire.ServerMessage{Type: wire.TypeResult, ID: m.ID, Payload: json.RawMessage(`"inline"`)})
			}
		})
		return
	}
	id := m.ID
	if y := s.keys[id]; y != "" {
		id = y
	}
	c := s.calls[id]
	if c == nil {
		c = s.accept(id)
		subs[id] = true
		w.toClient(conn, wire.ServerMessage{Type: wire.TypeAck, ID: id, Seq: 1, Epoch: c.epoch})
		return
	}
	p := c.page(0, 0, 1+w.rnd.IntN(20))
	subs[id] = !*p.More
	if id != m.ID {
		p.For = m.ID
	}
	w.toClient(conn, p)
}

func (s *modelServer) accept(id string) *modelCall {
	s.epoch++
	c := &modelCall{id: id, epoch: s.epoch, attempt: 1, keep: 1, steps: s.w.rnd.IntN(200)}
	c.log = []wire.ServerMessage{{Type: wire.TypeAck, Seq: 1, Epoch: c.epoch}}
	s.calls[id] = c
	s.work(c)
	return c
}

// work has the handler of a call do its next step after a while.
func (s *modelServer) work(c *modelCall) {
	w, life := s.w, c.life
	pause := w.upTo(time.Duration(1+w.rnd.IntN(1000)) * time.Millisecond)
	if w.rnd.IntN(3) == 0 {
		pause = 0
	}
	w.after(pause, func() {
		if c.life != life || c.ended() {
			return
		}
		s.step(c)
		s.work(c)
	})
}

func (s *modelServer) step(c *modelCall) {
	rnd := s.w.rnd
	if c.steps--; c.steps < 0 {
		s.tell(c, wire.ServerMessage{Type: wire.TypeResult, Payload: fmt.Appendf(nil, "%d", len(c.chunks()))})
		return
	}
	switch n := rnd.IntN(20); {
	case n == 0:
		mark := wire.ServerMessage{Type: wire.TypeAttempt, Attempt: c.attempt + 1, Keep: c.keep, Code: wire.CodeWorkerLost}
		mark.From = c.last() + 1
		if rnd.IntN(2) == 0 {
			mark.From = c.keep + 1
		}
		c.attempt++
		c.rev = 0
		s.tell(c, mark)
	case n == 1:
		if seqs := c.chunks(); len(seqs) > 0 {
			c.keep = seqs[len(seqs)-1]
		}
	case n < 5:
		c.rev++
		s.post(c.id, wire.ServerMessage{Type: wire.TypeProgress, Attempt: c.attempt, Rev: c.rev}, false)
	default:
		seq := c.last() + 1
		s.tell(c, wire.ServerMessage{Type: wire.TypeChunk, Attempt: c.attempt, Data: fmt.Appendf(nil, `"%d.%d"`, c.epoch, seq)})
	}
}

// tell adds an event to the log and sends it to all who follow.
func (s *modelServer) tell(c *modelCall, m wire.ServerMessage) {
	m.Seq = c.last() + 1
	c.log = append(c.log, m)
	s.post(c.id, m, true)
}

func (s *modelServer) post(id string, m wire.ServerMessage, durable bool) {
	m.ID = id
	conns := make([]int, 0, len(s.subs))
	for conn := range s.subs {
		conns = append(conns, conn)
	}
	slices.Sort(conns)
	for _, conn := range conns {
		live, follows := s.subs[conn][id]
		switch {
		case !follows || durable && !live:
		case durable && s.w.chaos() && s.w.rnd.IntN(30) == 0:
			s.subs[conn][id] = false
			s.w.toClient(conn, wire.ServerMessage{Type: wire.TypeLag, ID: id, LastSeq: m.Seq})
		default:
			s.w.toClient(conn, m)
		}
	}
}

// wipe has the server lose its memory: all calls begin a new history.
func (s *modelServer) wipe() {
	ids := make([]string, 0, len(s.calls))
	for id := range s.calls {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if c := s.calls[id]; !c.ended() {
			c.life++
			s.accept(id)
		}
	}
}
