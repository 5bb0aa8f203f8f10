package conformance

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// eventHistory holds every durable event that a server sent, on any connection
// and in any order, and finds contradictions: one seq with two contents, two
// ends, an event behind the end. So every transcript also tests these rules.
type eventHistory map[streamKey]*streamHistory

type streamKey struct{ tenant, id string }

// streamHistory is what was sent of one stream.
type streamHistory struct {
	events map[uint64]string // by seq
	// last is the greatest seq, end that of the result or error; 0: none.
	last, end uint64
}

// checkFrame returns what is wrong with a server's frame.
func (h eventHistory) checkFrame(tenant string, frame []byte) error {
	if len(frame) > wire.MaxServerMessage {
		return fmt.Errorf("a server's frame holds at most %d bytes, this one has %d", wire.MaxServerMessage, len(frame))
	}
	if _, err := wire.DecodeServerFrame(frame); err != nil {
		return err
	}
	list := messagesOf(frame)
	if len(list) == 0 {
		return errors.New("an empty batch")
	}
	for _, text := range list {
		// Clients ignore what they do not understand; here it is an error.
		var m wire.ServerMessage
		if err := json.Unmarshal(text, &m); err != nil {
			return err
		}
		if m.Type == "" {
			return errors.New("a message without type")
		}
		s := h[streamKey{tenant, m.ID}]
		if s == nil {
			s = &streamHistory{events: map[uint64]string{}}
			h[streamKey{tenant, m.ID}] = s
		}
		if err := s.record(&m); err != nil {
			return err
		}
		for i := range m.Events {
			if err := errors.Join(checkPage(&m, i), s.record(&m.Events[i])); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkPage checks the place of one event in a snapshot.
func checkPage(m *wire.ServerMessage, i int) error {
	e := &m.Events[i]
	switch {
	case e.Seq == 0:
		return fmt.Errorf("the event %s of a snapshot has no seq", e.Type)
	case e.Seq > m.LastSeq:
		return fmt.Errorf("a snapshot with lastSeq %d holds the event %d", m.LastSeq, e.Seq)
	case i > 0 && firstSeq(e) > m.Events[i-1].Seq+1:
		return fmt.Errorf("a snapshot has a gap between %d and %d", m.Events[i-1].Seq, e.Seq)
	case i > 0 && e.Seq <= m.Events[i-1].Seq:
		return fmt.Errorf("a snapshot's events are out of order: %d behind %d", e.Seq, m.Events[i-1].Seq)
	}
	return nil
}

// firstSeq is the first seq that an event replaces.
func firstSeq(e *wire.ServerMessage) uint64 {
	if e.Type == wire.TypeAttempt && e.From != 0 {
		return e.From
	}
	return e.Seq
}

// record adds an event, and refuses one that contradicts others.
func (s *streamHistory) record(m *wire.ServerMessage) error {
	if m.Seq == 0 {
		return nil // no durable event
	}
	content := *m
	// A snapshot states the id once, and an attempt may replace more than it
	// did when it was sent first.
	content.ID, content.From = "", 0
	text := string(content.Append(nil))
	if before, seen := s.events[m.Seq]; seen && before != text {
		return fmt.Errorf("seq %d was %s before", m.Seq, brief([]byte(before)))
	}
	s.events[m.Seq] = text
	s.last = max(s.last, m.Seq)
	if m.Type == wire.TypeResult || m.Type == wire.TypeError {
		if s.end != 0 && s.end != m.Seq {
			return fmt.Errorf("a second end: the first had seq %d", s.end)
		}
		s.end = m.Seq
	}
	if s.end != 0 && s.last > s.end {
		return fmt.Errorf("the event %d is behind the end, %d", s.last, s.end)
	}
	return nil
}
