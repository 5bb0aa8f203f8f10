package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// errQuiet says that no message came in time.
var errQuiet = errors.New("nothing came")

// faults are what happens to the next frames of one direction.
type faults struct {
	lose, double, delay int
	held                []byte // a delayed frame; it is passed on behind the next one
}

// apply returns the frames that arrive when one is sent, and what happened to
// it.
func (f *faults) apply(frame []byte) (out [][]byte, note string) {
	switch {
	case f.lose > 0:
		f.lose--
		return nil, " (lost)"
	case f.delay > 0:
		f.delay--
		f.held = frame
		return nil, " (delayed)"
	}
	out = append(out, frame)
	if f.double > 0 {
		f.double--
		out, note = append(out, frame), " (doubled)"
	}
	if f.held != nil {
		out, f.held = append(out, f.held), nil
	}
	return out, note
}

// connection is one end of a connection, over a network that faults can be
// injected into.
type connection struct {
	name           string
	suffix         string // names it in a failure, unless it is the main one
	conn           Conn
	sent, received faults
	check          func(frame []byte) error // judges every frame that comes
	inbox          []json.RawMessage        // messages that have come and were not asked for yet
	autoReplies    []autoReply              // given to messages that no step expects
	gone           error                    // why nothing more will come; nil: it is open
	// followed is the position up to which a step has followed each stream, by
	// id. The server may send events up to it once more, live.
	followed map[string]uint64
}

// sendFrame sends a frame, and returns what happened to it on the way.
func (c *connection) sendFrame(frame []byte) (note string, err error) {
	if c.gone != nil {
		return "", fmt.Errorf("the connection %s is gone: %w", c.name, c.gone)
	}
	out, note := c.sent.apply(frame)
	for _, frame := range out {
		if err := c.conn.Send(frame); err != nil {
			return note, err
		}
	}
	return note, nil
}

// receive puts the messages of the next frame into the inbox. It returns errQuiet
// when ctx is done first, or why nothing more will come.
func (c *connection) receive(ctx context.Context) error {
	if c.gone != nil {
		return c.gone
	}
	frame, err := c.conn.Recv(ctx)
	var closed *CloseError
	switch {
	case errors.As(err, &closed):
		c.gone = closed
		return closed
	case err != nil && ctx.Err() != nil:
		return errQuiet
	case err != nil:
		return fmt.Errorf("the target cannot receive: %w", err)
	}
	out, _ := c.received.apply(frame)
	return c.deliver(out...)
}

// deliver puts the messages of frames into the inbox.
func (c *connection) deliver(frames ...[]byte) error {
	for _, frame := range frames {
		if err := c.check(frame); err != nil {
			return fmt.Errorf("a frame that the protocol forbids came: %w: %s", err, brief(frame))
		}
		c.inbox = append(c.inbox, messagesOf(bytes.Clone(frame))...)
	}
	return nil
}

// next returns the next message, errQuiet when ctx is done first, or a
// *CloseError. When nothing comes, a delayed frame does.
func (c *connection) next(ctx context.Context) (json.RawMessage, error) {
	for len(c.inbox) == 0 {
		err := c.receive(ctx)
		if held := c.received.held; held != nil && errors.Is(err, errQuiet) {
			c.received.held = nil
			err = c.deliver(held)
		}
		if err != nil {
			return nil, err
		}
	}
	m := c.inbox[0]
	c.inbox = c.inbox[1:]
	return m, nil
}

// receiveAll takes what has come without waiting.
func (c *connection) receiveAll(ctx context.Context) error {
	for c.gone == nil {
		soon, cancel := context.WithTimeout(ctx, transitTime)
		err := c.receive(soon)
		cancel()
		switch {
		case errors.Is(err, errQuiet):
			return nil
		case err != nil && c.gone == nil:
			return err
		}
	}
	return nil
}

// isDuplicate reports whether a message is an event of a stream that was followed
// here up to it, or a lag before the end of it: a server may send an event in a
// snapshot and live as well, and clients drop such duplicates.
func (c *connection) isDuplicate(m json.RawMessage) bool {
	var head wire.ServerMessage
	if len(c.followed) == 0 || json.Unmarshal(m, &head) != nil {
		return false
	}
	position, ok := c.followed[head.ID]
	switch {
	case !ok || head.Ref != "":
		return false
	case head.Type == wire.TypeLag:
		return head.LastSeq <= position
	}
	return head.Seq > 0 && head.Seq <= position
}

// disconnect ends the connection from the player's side.
func (c *connection) disconnect(why string) {
	if c.gone == nil {
		c.gone = errors.New(why)
	}
	c.conn.Cut()
}

// checkClientFrame returns why a server would refuse a client's frame.
func checkClientFrame(frame []byte) error {
	if len(frame) > wire.MaxClientMessage {
		return fmt.Errorf("a client's frame holds at most %d bytes, this one has %d", wire.MaxClientMessage, len(frame))
	}
	items, _, err := wire.DecodeClientFrame(frame)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(items, func(item wire.ClientItem) bool { return item.Err != nil }); i >= 0 {
		return items[i].Err
	}
	return nil
}
