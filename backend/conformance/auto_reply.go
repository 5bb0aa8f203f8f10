package conformance

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

const (
	// replyInterval is how far a client's clock is moved, or a client waited
	// for, before automatic replies are given.
	replyInterval = 4 * time.Second
	// transitTime is how long a message that was sent may take to come.
	transitTime = 2 * time.Millisecond
)

// autoReply is given to every message that matches and that no step expects.
type autoReply struct {
	pattern, with json.RawMessage
}

// pong is an automatic reply of every connection of a client.
var pong = autoReply{json.RawMessage(`{"type": "ping"}`), json.RawMessage(`{"type": "pong"}`)}

// addAutoReply adds an automatic reply to a connection.
func (*player) addAutoReply(_ context.Context, c *connection, s *Step) error {
	c.autoReplies = append(c.autoReplies, autoReply{s.Arg, s.with["with"]})
	return nil
}

// autoReply gives a message its automatic reply, and reports whether it has one.
// What the pattern binds is bound for that reply only.
func (p *player) autoReply(c *connection, m json.RawMessage) (replied bool, err error) {
	for _, reply := range c.autoReplies {
		try := p.clone()
		if try.match(reply.pattern, m) != nil {
			continue
		}
		if c.gone != nil {
			return true, nil // it came before the end, and no reply can be sent
		}
		frame, err := try.expand(reply.with)
		switch {
		case err != nil:
			return false, err
		case typeOf(m) == wire.TypePing:
			_, err = c.sendFrame(frame) // not worth a line of the log
			return true, err
		}
		return true, p.sendFrame(c, frame)
	}
	return false, nil
}

// replyToAll gives the messages that have come on any connection their
// automatic replies; all others are left to their steps.
func (p *player) replyToAll(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(p.connections)) {
		c := p.connections[name]
		if err := c.receiveAll(ctx); err != nil {
			return err
		}
		var kept []json.RawMessage
		for _, m := range c.inbox {
			replied, err := p.autoReply(c, m)
			if err != nil {
				return err
			}
			if !replied {
				kept = append(kept, m)
			}
		}
		c.inbox = kept
	}
	return nil
}

// advance moves the target's clock. A client gets its automatic replies in
// between.
func (p *player) advance(ctx context.Context, s *Step) error {
	clock, ok := p.target.(Clock)
	if !ok {
		return errNoRole
	}
	d := milliseconds(s.Arg)
	if p.client == nil {
		return clock.Advance(ctx, d)
	}
	for ; d > 0; d -= replyInterval {
		if err := clock.Advance(ctx, min(d, replyInterval)); err != nil {
			return err
		}
		if err := p.replyToAll(ctx); err != nil {
			return err
		}
	}
	return nil
}

// nextDial waits for the client's next attempt to connect, and gives automatic
// replies meanwhile.
func (p *player) nextDial(ctx context.Context) (Dial, error) {
	for {
		soon, cancel := context.WithTimeout(ctx, replyInterval)
		dial, err := p.client.Accept(soon)
		expired := soon.Err() != nil
		cancel()
		if err == nil || ctx.Err() != nil || !expired {
			return dial, err
		}
		if err := p.replyToAll(ctx); err != nil {
			return nil, err
		}
	}
}
