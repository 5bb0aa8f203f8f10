package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// follower does what section 7 of PROTOCOL.md asks of a client that follows a
// stream: it pulls pages, takes what comes live, drops doubles, holds what lies
// beyond a hole, and pulls again after a lag. So a transcript can say which events there are without
// saying how many of them are replayed and how many come live.
type follower struct {
	*serverPlayer
	line     *line
	id       json.RawMessage
	epoch    json.RawMessage
	position uint64
	held     map[uint64]json.RawMessage
	ref      string
	// answered tells that the last page has come.
	answered bool
	// lagged tells that the stream has ceased to be live since it was asked
	// for.
	lagged bool
	// pending are the patterns that no event has met yet.
	pending []any
	total   int
	// passed are types of events that are taken without meeting a pattern.
	passed []string
}

// follow subscribes from a position and takes events until all patterns are
// met.
func (p *serverPlayer) follow(ctx context.Context, s *Step) error {
	l, err := p.line(s.On)
	if err != nil {
		return err
	}
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	f := &follower{serverPlayer: p, line: l, held: map[uint64]json.RawMessage{}, passed: s.Ignoring}
	if err := f.read(s); err != nil {
		return err
	}
	if err := f.subscribe(); err != nil {
		return err
	}
	for len(f.pending) > 0 || !f.answered {
		m, err := p.next(ctx, l, []string{wire.TypeProgress}, false)
		if err != nil {
			why := fmt.Sprintf("%d of %d events came, snapshot %t: %v", f.total-len(f.pending), f.total, f.answered, err)
			return &unmet{why, appendNode(nil, f.pending), nil}
		}
		if err := f.message(m); err != nil {
			return err
		}
	}
	var text string
	if json.Unmarshal(f.id, &text) == nil {
		l.taken[text] = f.position
	}
	return nil
}

// read works out whom a step follows, and from where.
func (f *follower) read(s *Step) error {
	id, err := f.expand(s.Arg)
	if err != nil {
		return err
	}
	f.id = appendNode(nil, id)
	if n, ok := s.with.get("epoch"); ok {
		epoch, err := f.expand(n)
		if err != nil {
			return err
		}
		f.epoch = appendNode(nil, epoch)
	}
	if n, ok := s.with.get("after"); ok {
		after, _ := integer(n)
		f.position = uint64(after)
	}
	events, _ := s.with.get("events")
	f.pending, _ = events.([]any)
	f.total = len(f.pending)
	return nil
}

// subscribe asks for the events behind the position.
func (f *follower) subscribe() error {
	f.followed++
	f.ref = fmt.Sprintf("follow-%d", f.followed)
	m := object{
		{"type", wire.TypeSubscribe}, {"ref", f.ref}, {"id", f.id}, {"after", json.Number(fmt.Sprint(f.position))},
	}
	if f.epoch != nil {
		m = append(m, member{"epoch", f.epoch})
	}
	frame := appendNode(nil, m)
	fate, err := f.line.send(frame)
	f.note("→ %s%s: %s", f.line.name, fate, brief(frame))
	return err
}

// message takes a snapshot or a live event.
func (f *follower) message(m json.RawMessage) error {
	var head struct {
		Type   string            `json:"type"`
		Ref    string            `json:"ref"`
		ID     json.RawMessage   `json:"id"`
		Events []json.RawMessage `json:"events"`
		More   bool              `json:"more"`
	}
	if err := json.Unmarshal(m, &head); err != nil {
		return err
	}
	if !equalValues(f.id, head.ID) || (head.Type == wire.TypeSnapshot) != (head.Ref == f.ref) {
		return &unmet{"a message that is not of the stream that is followed", f.id, m}
	}
	if head.Type == wire.TypeLag {
		f.lagged = true
		return f.catchUp()
	}
	if head.Type != wire.TypeSnapshot {
		e, err := withoutID(m)
		if err != nil {
			return err
		}
		return f.event(e)
	}
	for _, e := range head.Events {
		if err := f.event(e); err != nil {
			return err
		}
	}
	if head.More {
		return f.subscribe()
	}
	f.answered = true
	return f.catchUp()
}

// catchUp pulls anew after a lag, unless an answer is still to come.
func (f *follower) catchUp() error {
	if !f.lagged || !f.answered {
		return nil
	}
	f.lagged, f.answered = false, false
	return f.subscribe()
}

// withoutID makes a live event look as it does in a snapshot.
func withoutID(m json.RawMessage) (json.RawMessage, error) {
	n, err := parseNode(m)
	if err != nil {
		return nil, err
	}
	o, _ := n.(object)
	kept := make(object, 0, len(o))
	for _, f := range o {
		if f.key != "id" {
			kept = append(kept, f)
		}
	}
	return appendNode(nil, kept), nil
}

// event takes an event, or holds it until the hole before it is filled.
func (f *follower) event(e json.RawMessage) error {
	var head wire.ServerMessage
	if err := json.Unmarshal(e, &head); err != nil {
		return err
	}
	switch {
	case head.Seq == 0:
		return &unmet{"an event without seq", nil, e}
	case head.Seq <= f.position:
		return nil
	case first(&head) > f.position+1:
		f.held[first(&head)] = e
		return nil
	case slices.Contains(f.passed, head.Type):
		f.position = head.Seq
		return f.fill()
	case len(f.pending) == 0:
		return &unmet{"one event more than expected", nil, e}
	}
	if err := f.match(f.pending[0], e); err != nil {
		why := fmt.Sprintf("event %d of %d: %v", f.total-len(f.pending)+1, f.total, err)
		return &unmet{why, appendNode(nil, f.pending[0]), e}
	}
	f.pending, f.position = f.pending[1:], head.Seq
	return f.fill()
}

// fill takes a held event that the position has come to, if there is one, and
// by it those behind it.
func (f *follower) fill() error {
	for first, e := range f.held {
		if first <= f.position+1 {
			delete(f.held, first)
			if err := f.event(e); err != nil {
				return err
			}
		}
	}
	return nil
}
