package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// dial returns the client's next attempt to connect, with the token that the
// step expects.
func (p *player) dial(ctx context.Context, s *Step) (Dial, error) {
	dial, err := p.nextDial(ctx)
	if err != nil {
		return nil, fmt.Errorf("the client does not connect: %w", err)
	}
	if !slices.Contains(dial.Offered(), wire.Subprotocol) {
		return nil, unmet("the client does not offer "+wire.Subprotocol, nil, encode(dial.Offered()))
	}
	if want, ok := s.with["token"]; ok {
		return dial, p.mustMatch("another token", want, encode(dial.Token()))
	}
	return dial, nil
}

func (p *player) accept(ctx context.Context, s *Step) error {
	dial, err := p.dial(ctx, s)
	if err != nil {
		return err
	}
	pick := wire.Subprotocol
	if n, ok := s.with["pick"]; ok {
		pick = stringOf(n)
	}
	conn, err := dial.Accept(pick)
	if err != nil {
		return err
	}
	return p.addConnection(s.textArg(), conn, checkClientFrame, pong)
}

// refuse refuses an attempt with {"status": …, "code": …}.
func (p *player) refuse(ctx context.Context, s *Step) error {
	dial, err := p.dial(ctx, s)
	if err != nil {
		return err
	}
	var head struct{ Status int }
	if err := json.Unmarshal(s.Arg, &head); err != nil || head.Status == 0 {
		return errors.New("refuse needs a status")
	}
	p.logMessage("— refused, %d", head.Status)
	return dial.Refuse(head.Status, withoutField(s.Arg, "status"))
}

func (p *player) noConnect(ctx context.Context, s *Step) error {
	ctx, cancel := context.WithTimeout(ctx, milliseconds(s.Arg))
	defer cancel()
	dial, err := p.client.Accept(ctx)
	if err != nil {
		return ignoreTimeout(ctx, err)
	}
	return errors.Join(errors.New("the client connects"), dial.Refuse(503, []byte("{}")))
}

// ignoreTimeout returns nil for the error of a context whose time is over.
func ignoreTimeout(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil
	}
	return err
}

// application does what the application of the client does.
func (p *player) application(ctx context.Context, s *Step) error {
	call := s.textArg()
	switch s.Verb {
	case "cancel":
		return p.client.Cancel(ctx, call)
	case "detach":
		return p.client.Detach(ctx, call)
	case "attach":
		id, err := p.expand(s.with["id"])
		if err != nil {
			return err
		}
		return p.client.Attach(ctx, call, stringOf(id))
	}
	request, err := p.expand(s.with["request"])
	if err != nil {
		return err
	}
	return p.client.Start(ctx, call, request)
}

// take lets the reader of a call take events in the order of the patterns.
func (p *player) take(ctx context.Context, s *Step) error {
	call := s.textArg()
	return p.matchEach(elements(s.with["events"]), "event", " for the reader of "+call, func() (json.RawMessage, error) {
		return p.nextEvent(ctx, call, s.ignoring)
	})
}

// nextEvent takes the next event of a call that is not ignored.
func (p *player) nextEvent(ctx context.Context, call string, ignoring []string) (json.RawMessage, error) {
	for {
		e, err := p.client.Next(ctx, call)
		if err != nil {
			return nil, err
		}
		p.logMessage("⇒ %s: %s", call, brief(e))
		var head struct {
			Event string `json:"event"`
		}
		if err := json.Unmarshal(e, &head); err != nil {
			return nil, fmt.Errorf("the target hands on what is no event: %w", err)
		}
		if !slices.Contains(ignoring, head.Event) {
			return e, nil
		}
	}
}

func (p *player) takeNothing(ctx context.Context, s *Step) error {
	ctx, cancel := context.WithTimeout(ctx, milliseconds(s.with["forMs"]))
	defer cancel()
	e, err := p.nextEvent(ctx, s.textArg(), nil)
	if err != nil {
		return ignoreTimeout(ctx, err)
	}
	return unmet("the reader of "+s.textArg()+" should be handed nothing", nil, e)
}

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
	d := milliseconds(s.Arg)
	if p.client == nil {
		return p.clock.Advance(ctx, d)
	}
	for ; d > 0; d -= replyInterval {
		if err := p.clock.Advance(ctx, min(d, replyInterval)); err != nil {
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
