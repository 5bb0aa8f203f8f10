package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

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

func (p *player) start(ctx context.Context, s *Step) error {
	request, err := p.expand(s.with["request"])
	if err != nil {
		return err
	}
	return p.client.Start(ctx, s.textArg(), request)
}

func (p *player) attach(ctx context.Context, s *Step) error {
	id, err := p.expand(s.with["id"])
	if err != nil {
		return err
	}
	return p.client.Attach(ctx, s.textArg(), stringOf(id))
}

func (p *player) cancel(ctx context.Context, s *Step) error { return p.client.Cancel(ctx, s.textArg()) }
func (p *player) detach(ctx context.Context, s *Step) error { return p.client.Detach(ctx, s.textArg()) }

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
