package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// errQuiet tells that nothing came in time.
var errQuiet = errors.New("nothing came")

// faults are what happens to the next frames of one direction.
type faults struct {
	lose, double, delay int
	// held is a delayed frame: it goes behind the one after it.
	held []byte
}

// line is a connection with a network in between that can be told to err.
type line struct {
	name   string
	conn   Conn
	faults map[string]*faults
	// inbox holds messages of a batch that were not asked for yet.
	inbox []json.RawMessage
	// standing are answers that need no step.
	standing []standing
	// taken is the position up to which a step has followed each stream, by id.
	// The server may send what is not beyond it once more, live.
	taken map[string]uint64
	// gone is why nothing more will come.
	gone error
	// judge looks at every frame that comes, and at every message in it.
	judge func(frame []byte) error
}

func newLine(name string, conn Conn, judge func([]byte) error) *line {
	return &line{name: name, conn: conn, judge: judge, taken: map[string]uint64{}, faults: map[string]*faults{sent: {}, received: {}}}
}

// hasTaken tells whether a message is an event of a stream that was followed
// here up to it, or a lag before the end of it: a server may show an event in a
// snapshot and tell it live as well, and clients drop such doubles.
func (l *line) hasTaken(m json.RawMessage) bool {
	var head wire.ServerMessage
	if len(l.taken) == 0 || json.Unmarshal(m, &head) != nil {
		return false
	}
	position, ok := l.taken[head.ID]
	switch {
	case !ok || head.Ref != "":
		return false
	case head.Type == wire.TypeLag:
		return head.LastSeq <= position
	}
	return head.Seq > 0 && head.Seq <= position
}

// alive tells whether the connection is there.
func (l *line) alive() bool { return l.gone == nil }

// send passes a frame on, or does to it what a step before has asked for. It
// tells what became of it.
func (l *line) send(frame []byte) (note string, err error) {
	if l.gone != nil {
		return "", fmt.Errorf("the connection %s is gone: %w", l.name, l.gone)
	}
	f := l.faults[sent]
	switch {
	case f.lose > 0:
		f.lose--
		return " (lost)", nil
	case f.delay > 0:
		f.delay--
		f.held = frame
		return " (delayed)", nil
	}
	out := [][]byte{frame}
	if f.double > 0 {
		f.double--
		note = " (doubled)"
		out = append(out, frame)
	}
	if f.held != nil {
		out = append(out, f.held)
		f.held = nil
	}
	for _, frame := range out {
		if err := l.conn.Send(frame); err != nil {
			return note, err
		}
	}
	return note, nil
}

// next returns the next message, errQuiet when ctx is done first, or a
// *CloseError.
func (l *line) next(ctx context.Context) (json.RawMessage, error) {
	for len(l.inbox) == 0 {
		if l.gone != nil {
			return nil, l.gone
		}
		frame, err := l.conn.Recv(ctx)
		if err != nil {
			if err = l.absent(ctx, err); err != nil {
				return nil, err
			}
			continue
		}
		if err := l.arrive(frame); err != nil {
			return nil, err
		}
	}
	m := l.inbox[0]
	l.inbox = l.inbox[1:]
	return m, nil
}

// absent handles that no frame came: a delayed one has waited long enough.
func (l *line) absent(ctx context.Context, err error) error {
	var closed *CloseError
	f := l.faults[received]
	switch {
	case errors.As(err, &closed):
		l.gone = closed
		return closed
	case ctx.Err() == nil:
		return fmt.Errorf("the target cannot receive: %w", err)
	case f.held != nil:
		frame := f.held
		f.held = nil
		return l.deliver(frame)
	}
	return errQuiet
}

// arrive lets a frame in, or does to it what a step before has asked for.
func (l *line) arrive(frame []byte) error {
	f := l.faults[received]
	switch {
	case f.lose > 0:
		f.lose--
		return nil
	case f.delay > 0:
		f.delay--
		f.held = frame
		return nil
	}
	out := [][]byte{frame}
	if f.double > 0 {
		f.double--
		out = append(out, frame)
	}
	if f.held != nil {
		out = append(out, f.held)
		f.held = nil
	}
	for _, frame := range out {
		if err := l.deliver(frame); err != nil {
			return err
		}
	}
	return nil
}

// deliver takes a frame's messages apart.
func (l *line) deliver(frame []byte) error {
	if err := l.judge(frame); err != nil {
		return fmt.Errorf("an unlawful frame came: %w: %s", err, brief(frame))
	}
	if kindOf(frame) != "array" {
		l.inbox = append(l.inbox, bytes.Clone(frame))
		return nil
	}
	var batch []json.RawMessage
	if err := json.Unmarshal(frame, &batch); err != nil {
		return err
	}
	l.inbox = append(l.inbox, batch...)
	return nil
}

// drop ends the line from the player's side.
func (l *line) drop(why error) {
	if l.gone == nil {
		l.gone = why
	}
	l.conn.Cut()
}

// judgeClientFrame holds a client's frame against what servers refuse.
func judgeClientFrame(frame []byte) error {
	if len(frame) > wire.MaxClientMessage {
		return fmt.Errorf("a client's frame holds at most %d bytes, this one has %d", wire.MaxClientMessage, len(frame))
	}
	items, _, err := wire.DecodeClientFrame(frame)
	if err != nil {
		return err
	}
	for i := range items {
		if items[i].Err != nil {
			return items[i].Err
		}
	}
	return nil
}
