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
type eventHistory struct {
	events map[eventKey]string
	ends   map[streamKey]uint64
	last   map[streamKey]uint64
}

type streamKey struct{ tenant, id string }

type eventKey struct {
	streamKey
	seq uint64
}

func newEventHistory() *eventHistory {
	return &eventHistory{events: map[eventKey]string{}, ends: map[streamKey]uint64{}, last: map[streamKey]uint64{}}
}

// checkFrame returns what is wrong with a server's frame.
func (h *eventHistory) checkFrame(tenant string, frame []byte) error {
	if len(frame) > wire.MaxServerMessage {
		return fmt.Errorf("a server's frame holds at most %d bytes, this one has %d", wire.MaxServerMessage, len(frame))
	}
	if _, err := wire.DecodeServerFrame(frame); err != nil {
		return err
	}
	list := []json.RawMessage{frame}
	if kindOf(frame) == "array" {
		list = elements(frame)
	}
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
		key := streamKey{tenant, m.ID}
		if err := h.record(key, &m); err != nil {
			return err
		}
		for i := range m.Events {
			if err := checkPage(&m, i); err != nil {
				return err
			}
			if err := h.record(key, &m.Events[i]); err != nil {
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
func (h *eventHistory) record(s streamKey, m *wire.ServerMessage) error {
	if m.Seq == 0 {
		return nil // no durable event
	}
	content := *m
	// A snapshot states the id once, and an attempt may replace more than it
	// did when it was sent first.
	content.ID, content.From = "", 0
	text, key := string(content.Append(nil)), eventKey{s, m.Seq}
	if before, seen := h.events[key]; seen && before != text {
		return fmt.Errorf("seq %d was %s before", m.Seq, brief([]byte(before)))
	}
	h.events[key] = text
	h.last[s] = max(h.last[s], m.Seq)
	end, ended := h.ends[s]
	if m.Type == wire.TypeResult || m.Type == wire.TypeError {
		if ended && end != m.Seq {
			return fmt.Errorf("a second end: the first had seq %d", end)
		}
		h.ends[s], end, ended = m.Seq, m.Seq, true
	}
	if ended && h.last[s] > end {
		return fmt.Errorf("the event %d is behind the end, %d", h.last[s], end)
	}
	return nil
}
