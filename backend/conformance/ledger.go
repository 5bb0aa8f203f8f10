package conformance

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// ledger remembers every durable event that a server told, on any connection
// and in any order, and finds what can never be: one seq with two contents,
// two ends, an event behind the end. So each transcript also shows what it
// does not spell out.
type ledger struct {
	events map[position]string
	ends   map[stream]uint64
	last   map[stream]uint64
}

// stream is one request's history.
type stream struct{ tenant, id string }

type position struct {
	stream
	seq uint64
}

func newLedger() *ledger {
	return &ledger{events: map[position]string{}, ends: map[stream]uint64{}, last: map[stream]uint64{}}
}

// judge holds a server's frame against the law.
func (l *ledger) judge(tenant string, frame []byte) error {
	if len(frame) > wire.MaxServerMessage {
		return fmt.Errorf("a server's frame holds at most %d bytes, this one has %d", wire.MaxServerMessage, len(frame))
	}
	messages, err := decodeStrictly(frame)
	if err != nil {
		return err
	}
	if len(messages) == 0 {
		return errors.New("an empty batch")
	}
	for i := range messages {
		m := &messages[i]
		if m.Type == "" {
			return errors.New("a message without type")
		}
		if err := l.enter(stream{tenant, m.ID}, m); err != nil {
			return err
		}
		for k := range m.Events {
			if err := l.page(stream{tenant, m.ID}, m, k); err != nil {
				return err
			}
		}
	}
	return nil
}

// decodeStrictly reads a server's frame. Clients pass over what they do not
// understand; a server that says it is in the wrong all the same.
func decodeStrictly(frame []byte) (messages []wire.ServerMessage, err error) {
	if _, err := wire.DecodeServerFrame(frame); err != nil {
		return nil, err
	}
	if kindOf(frame) != "array" {
		messages = make([]wire.ServerMessage, 1)
		return messages, json.Unmarshal(frame, &messages[0])
	}
	return messages, json.Unmarshal(frame, &messages)
}

// page judges one event of a snapshot.
func (l *ledger) page(s stream, m *wire.ServerMessage, k int) error {
	e := &m.Events[k]
	switch {
	case e.Seq == 0:
		return fmt.Errorf("the event %s of a snapshot has no seq", e.Type)
	case e.Seq > m.LastSeq:
		return fmt.Errorf("a snapshot with lastSeq %d holds the event %d", m.LastSeq, e.Seq)
	case k > 0 && first(e) > m.Events[k-1].Seq+1:
		return fmt.Errorf("a snapshot has a hole between %d and %d", m.Events[k-1].Seq, e.Seq)
	case k > 0 && e.Seq <= m.Events[k-1].Seq:
		return fmt.Errorf("a snapshot's events are out of order: %d behind %d", e.Seq, m.Events[k-1].Seq)
	}
	return l.enter(s, e)
}

// first is the first seq that an event stands for.
func first(e *wire.ServerMessage) uint64 {
	if e.Type == wire.TypeAttempt && e.From != 0 {
		return e.From
	}
	return e.Seq
}

// enter notes an event, and refuses one that cannot be.
func (l *ledger) enter(s stream, m *wire.ServerMessage) error {
	if m.Seq == 0 {
		return nil // no durable event
	}
	content := *m
	// Neither belongs to the event: a snapshot says the id once, and a mark may
	// stand for more than it did when it was told first.
	content.ID, content.From = "", 0
	text := string(content.Append(nil))
	at := position{s, m.Seq}
	if before, seen := l.events[at]; seen && before != text {
		return fmt.Errorf("seq %d was %s before", m.Seq, brief([]byte(before)))
	}
	l.events[at] = text
	l.last[s] = max(l.last[s], m.Seq)
	if m.Type == wire.TypeResult || m.Type == wire.TypeError {
		if end, ended := l.ends[s]; ended && end != m.Seq {
			return fmt.Errorf("a second end: the first had seq %d", end)
		}
		l.ends[s] = m.Seq
	}
	if end, ended := l.ends[s]; ended && l.last[s] > end {
		return fmt.Errorf("the event %d stands behind the end, %d", l.last[s], end)
	}
	return nil
}
