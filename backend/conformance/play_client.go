package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// PlayClient plays a transcript against a client and ends the test with what
// went wrong, as Play does against a server.
func PlayClient(tb TB, t *Transcript, target ClientTarget, known KnownFailures) {
	tb.Helper()
	report(tb, known.Judge(t, RunClient(tb.Context(), t, target, nil)))
}

// RunClient plays a transcript against a client, and closes it. Errors are
// those of Run.
func RunClient(ctx context.Context, t *Transcript, target ClientTarget, o *Options) error {
	err := runClient(ctx, t, target, o)
	return errors.Join(err, target.Close())
}

func runClient(ctx context.Context, t *Transcript, target ClientTarget, o *Options) error {
	if t.Tests != Client {
		return fmt.Errorf("transcript %s tests a %s", t.Name, t.Tests)
	}
	if lacking := missing(t.Needs, target.Abilities()); len(lacking) > 0 {
		return &Lacking{t.Name, lacking}
	}
	p := &clientPlayer{player: newPlayer(t, o, target, target.Abilities()), target: target}
	defer p.end()
	return p.play(ctx, p.do)
}

// clientPlayer plays the server of a client.
type clientPlayer struct {
	*player
	target ClientTarget
}

func (p *clientPlayer) do(ctx context.Context, s *Step) error {
	if done, err := p.common(ctx, s); done {
		return err
	}
	switch s.Verb {
	case "advanceMs":
		return p.advance(ctx, s)
	case "answer":
		return p.answerAlways(s)
	case "accept", "refuse":
		return p.answer(ctx, s)
	case "noConnectMs":
		return p.noConnect(ctx, s)
	case "start":
		return p.start(ctx, s)
	case "attach":
		return p.attach(ctx, s)
	case "cancel":
		return p.target.Cancel(ctx, s.text())
	case "detach":
		return p.target.Detach(ctx, s.text())
	case "take":
		return p.take(ctx, s)
	case "takeNothing":
		return p.takeNothing(ctx, s)
	}
	return fmt.Errorf("nobody has taught the player to %s", s.Verb)
}

// answer takes the client's next attempt to connect.
func (p *clientPlayer) answer(ctx context.Context, s *Step) error {
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	dial, err := p.dialled(ctx)
	if err != nil {
		return fmt.Errorf("the client does not connect: %w", err)
	}
	if !slices.Contains(dial.Offered(), wire.Subprotocol) {
		return &unmet{"the client does not offer " + wire.Subprotocol, nil, fmt.Append(nil, dial.Offered())}
	}
	if want, ok := s.with.get("token"); ok {
		came := appendText(nil, dial.Token())
		if err := p.match(want, came); err != nil {
			return &unmet{"another token: " + err.Error(), appendNode(nil, want), came}
		}
	}
	if s.Verb == "refuse" {
		return p.refuse(dial, s.Arg.(object))
	}
	pick := wire.Subprotocol
	if n, ok := s.with.get("pick"); ok {
		pick, _ = n.(string)
	}
	conn, err := dial.Accept(pick)
	if err != nil {
		return err
	}
	l := newLine(s.text(), conn, func(frame []byte) error {
		return errors.Join(judgeClientFrame(frame), p.tells(frame))
	})
	l.standing = []standing{pong}
	return p.open(l)
}

// refuse answers a dial with {"status": …, "code": …}.
func (p *clientPlayer) refuse(dial Dial, how object) error {
	status, _ := how.get("status")
	code, ok := integer(status)
	if !ok {
		return errors.New("refuse needs a status")
	}
	body := slices.DeleteFunc(slices.Clone(how), func(m member) bool { return m.key == "status" })
	p.note("— refused, %d", code)
	return dial.Refuse(int(code), appendNode(nil, body))
}

func (p *clientPlayer) noConnect(ctx context.Context, s *Step) error {
	ctx, cancel := context.WithTimeout(ctx, milliseconds(s.Arg))
	defer cancel()
	dial, err := p.target.Accept(ctx)
	if err != nil {
		return quiet(ctx, err)
	}
	return errors.Join(errors.New("the client connects"), dial.Refuse(503, []byte("{}")))
}

// quiet turns the error of a context that was waited out into nil.
func quiet(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (p *clientPlayer) start(ctx context.Context, s *Step) error {
	request, _ := s.with.get("request")
	n, err := p.expand(request)
	if err != nil {
		return err
	}
	return p.target.Start(ctx, s.text(), appendNode(nil, n))
}

func (p *clientPlayer) attach(ctx context.Context, s *Step) error {
	id, _ := s.with.get("id")
	n, err := p.expand(id)
	if err != nil {
		return err
	}
	var text string
	if err := json.Unmarshal(appendNode(nil, n), &text); err != nil {
		return fmt.Errorf("the id is no text: %w", err)
	}
	return p.target.Attach(ctx, s.text(), text)
}

// take lets the reader of a call take events in the order of the patterns.
func (p *clientPlayer) take(ctx context.Context, s *Step) error {
	events, _ := s.with.get("events")
	list, _ := events.([]any)
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	for i, pattern := range list {
		e, err := p.hand(ctx, s.text(), s.Ignoring)
		if err == nil {
			err = p.match(pattern, e)
		}
		if err != nil {
			why := fmt.Sprintf("event %d of %d for the reader of %s: %v", i+1, len(list), s.text(), err)
			return &unmet{why, appendNode(nil, pattern), e}
		}
	}
	return nil
}

// hand takes the next event of a call that is not passed over.
func (p *clientPlayer) hand(ctx context.Context, call string, ignoring []string) (json.RawMessage, error) {
	for {
		e, err := p.target.Next(ctx, call)
		if err != nil {
			return nil, err
		}
		p.note("⇒ %s: %s", call, brief(e))
		var head struct {
			Event string `json:"event"`
		}
		if err := json.Unmarshal(e, &head); err != nil {
			return nil, fmt.Errorf("the target hands on what is no event: %w", err)
		}
		if !slices.Contains(ignoring, head.Event) {
			return bytes.Clone(e), nil
		}
	}
}

func (p *clientPlayer) takeNothing(ctx context.Context, s *Step) error {
	forMs, _ := s.with.get("forMs")
	ctx, cancel := context.WithTimeout(ctx, milliseconds(forMs))
	defer cancel()
	e, err := p.hand(ctx, s.text(), nil)
	if err != nil {
		return quiet(ctx, err)
	}
	return &unmet{"the reader of " + s.text() + " should be handed nothing", nil, e}
}

// number makes a node of an integer.
func number(n int) json.Number { return json.Number(strconv.Itoa(n)) }
