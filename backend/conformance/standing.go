package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

const (
	// stride is for how long at a time a client is left alone, by its clock, so
	// that nothing that has a standing answer waits for it longer than a client
	// does.
	stride = 4 * time.Second
	// glance is how long a message may take to come when it has been sent.
	glance = 2 * time.Millisecond
)

// standing is an answer that is given whenever a message comes that no step
// expects.
type standing struct {
	pattern, with any
}

// pong is the standing answer of every connection of a client: it may ping at
// any time.
var pong = standing{object{{"type", wire.TypePing}}, object{{"type", wire.TypePong}}}

// answerAlways adds a standing answer to a connection.
func (p *clientPlayer) answerAlways(s *Step) error {
	l, err := p.line(s.On)
	if err != nil {
		return err
	}
	with, _ := s.with.get("with")
	l.standing = append(l.standing, standing{s.Arg, with})
	return nil
}

// stands gives a message its standing answer, and tells whether it has one.
// What the pattern binds is bound for that answer alone.
func (p *player) stands(l *line, m json.RawMessage) (bool, error) {
	for _, a := range l.standing {
		try := p.fork()
		if try.match(a.pattern, m) != nil {
			continue
		}
		if !l.alive() {
			return true, nil // it came before the end, and nobody waits for an answer
		}
		n, err := try.expand(a.with)
		if err != nil {
			return false, err
		}
		frame := appendNode(nil, n)
		fate, err := l.send(frame)
		if typeOf(m) != wire.TypePing {
			p.note("→ %s%s: %s", l.name, fate, brief(frame))
		}
		return true, err
	}
	return false, nil
}

// meanwhile gives the messages that have come on any connection their standing
// answers; all others wait for their step.
func (p *clientPlayer) meanwhile(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(p.lines)) {
		l := p.lines[name]
		if err := l.look(ctx); err != nil {
			return err
		}
		var kept []json.RawMessage
		for _, m := range l.inbox {
			answered, err := p.stands(l, m)
			if err != nil {
				return err
			}
			if !answered {
				kept = append(kept, m)
			}
		}
		l.inbox = kept
	}
	return nil
}

// look takes in what has come.
func (l *line) look(ctx context.Context) error {
	for l.gone == nil {
		frame, ok := l.glimpse(ctx)
		if !ok {
			break
		}
		if err := l.arrive(frame); err != nil {
			return err
		}
	}
	return nil
}

// glimpse returns the next frame if there is one. A target that cannot receive
// says so to the next step.
func (l *line) glimpse(ctx context.Context) (frame []byte, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	frame, err := l.conn.Recv(ctx)
	var closed *CloseError
	if errors.As(err, &closed) {
		l.gone = closed
	}
	return frame, err == nil
}

// advance moves the client's clock.
func (p *clientPlayer) advance(ctx context.Context, s *Step) error {
	c, err := clockOf(p.target)
	if err != nil {
		return err
	}
	for left := milliseconds(s.Arg); left > 0; left -= stride {
		if err := c.Advance(ctx, min(left, stride)); err != nil {
			return err
		}
		if err := p.meanwhile(ctx); err != nil {
			return err
		}
	}
	return nil
}

// dialled waits for the client's next attempt to connect.
func (p *clientPlayer) dialled(ctx context.Context) (Dial, error) {
	for {
		soon, cancel := context.WithTimeout(ctx, stride)
		dial, err := p.target.Accept(soon)
		cancel()
		if err == nil || ctx.Err() != nil || soon.Err() == nil {
			return dial, err
		}
		if err := p.meanwhile(ctx); err != nil {
			return nil, err
		}
	}
}
