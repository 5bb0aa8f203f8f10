package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// streamReader follows a stream as section 7 of PROTOCOL.md asks of clients: it
// pulls pages, takes live events, drops duplicates, holds events behind a gap,
// and pulls again after a lag. So a transcript can say which events there are,
// and not how many of them are replayed and how many are live.
type streamReader struct {
	*player
	step     *Step
	conn     *connection
	id       json.RawMessage
	ref      string                     // that of the last subscribe
	position uint64                     // the seq of the last event that was taken
	held     map[uint64]json.RawMessage // events behind a gap, by their first seq
	complete bool                       // the last page has come
	lagged   bool                       // the stream is not live any more
	patterns []json.RawMessage
	matched  int // how many of the patterns an event has matched
}

// follow subscribes from a position and takes events until all patterns have
// matched.
func (p *player) follow(ctx context.Context, c *connection, s *Step) (err error) {
	after, _ := integerOf(s.with["after"])
	f := &streamReader{player: p, step: s, conn: c, patterns: elements(s.with["events"])}
	f.position, f.held = uint64(after), map[uint64]json.RawMessage{}
	if f.id, err = p.expand(s.Arg); err != nil {
		return err
	}
	if err := f.subscribe(); err != nil {
		return err
	}
	for f.matched < len(f.patterns) || !f.complete {
		m, err := p.nextMessage(ctx, c, []string{wire.TypeProgress}, false)
		if err != nil {
			why := fmt.Sprintf("%d of %d events came, snapshot %t: %v", f.matched, len(f.patterns), f.complete, err)
			return unmet(why, encodeArray(f.patterns[f.matched:]), nil)
		}
		if err := f.takeMessage(m); err != nil {
			return err
		}
	}
	c.followed[stringOf(f.id)] = f.position
	return nil
}

// subscribe asks for the events behind the position.
func (f *streamReader) subscribe() error {
	f.subscribes++
	f.ref = fmt.Sprintf("follow-%d", f.subscribes)
	fields := []member{{"type", encode(wire.TypeSubscribe)}, {"ref", encode(f.ref)}, {"id", f.id}, {"after", encode(f.position)}}
	if epoch, ok := f.step.with["epoch"]; ok {
		value, err := f.expand(epoch)
		if err != nil {
			return err
		}
		fields = append(fields, member{"epoch", value})
	}
	return f.sendFrame(f.conn, encodeObject(fields))
}

// takeMessage takes a snapshot, a lag or a live event.
func (f *streamReader) takeMessage(m json.RawMessage) error {
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
	snapshot := head.Type == wire.TypeSnapshot
	if !equalJSON(f.id, head.ID) || snapshot != (head.Ref == f.ref) {
		return unmet("a message that is not of the stream that is followed", f.id, m)
	}
	switch {
	case head.Type == wire.TypeLag:
		f.lagged = true
	case !snapshot: // a live event: without its id it looks as it does in a snapshot
		return f.takeEvent(withoutField(m, "id"))
	default:
		for _, e := range head.Events {
			if err := f.takeEvent(e); err != nil {
				return err
			}
		}
		if head.More {
			return f.subscribe()
		}
		f.complete = true
	}
	if f.lagged && f.complete {
		f.lagged, f.complete = false, false
		return f.subscribe()
	}
	return nil
}

// takeEvent takes an event, or holds it until the gap before it is filled.
func (f *streamReader) takeEvent(e json.RawMessage) error {
	var head wire.ServerMessage
	if err := json.Unmarshal(e, &head); err != nil {
		return err
	}
	switch first := firstSeq(&head); {
	case head.Seq == 0:
		return unmet("an event without seq", nil, e)
	case head.Seq <= f.position:
		return nil
	case first > f.position+1:
		f.held[first] = e
		return nil
	}
	if !slices.Contains(f.step.ignoring, head.Type) {
		if f.matched == len(f.patterns) {
			return unmet("one event more than expected", nil, e)
		}
		wrong := fmt.Sprintf("event %d of %d", f.matched+1, len(f.patterns))
		if err := f.mustMatch(wrong, f.patterns[f.matched], e); err != nil {
			return err
		}
		f.matched++
	}
	f.position = head.Seq
	for first, held := range f.held {
		if first <= f.position+1 {
			delete(f.held, first)
			if err := f.takeEvent(held); err != nil {
				return err
			}
		}
	}
	return nil
}
