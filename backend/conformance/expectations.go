package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// patternsOf returns the patterns of a step, and whether a ping is among them.
func patternsOf(s *Step) (list []json.RawMessage, ping bool) {
	switch name, arg, _ := operator(s.Arg); {
	case name == "$times":
		list = elements(repeated(arg))
	case isObject(s.Arg):
		list = []json.RawMessage{s.Arg}
	default:
		list = elements(s.Arg)
	}
	return list, slices.ContainsFunc(list, func(n json.RawMessage) bool { return typeOf(n) == wire.TypePing })
}

// expect takes messages in the order of the patterns.
func (p *player) expect(ctx context.Context, c *connection, s *Step) error {
	list, ping := patternsOf(s)
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	for i, pattern := range list {
		m, err := p.nextMessage(ctx, c, s.Ignoring, ping)
		if err == nil {
			err = p.match(pattern, m)
		}
		if err != nil {
			return &unmet{fmt.Sprintf("message %d of %d%s: %v", i+1, len(list), c.suffix, err), pattern, m}
		}
	}
	return nil
}

// expectAnyOrder takes as many messages as there are patterns, and finds an
// order in which they match.
func (p *player) expectAnyOrder(ctx context.Context, c *connection, s *Step) error {
	list, ping := patternsOf(s)
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	var came []json.RawMessage
	for range list {
		m, err := p.nextMessage(ctx, c, s.Ignoring, ping)
		if err != nil {
			why := fmt.Sprintf("%d of %d messages came%s: %v", len(came), len(list), c.suffix, err)
			return &unmet{why, s.Arg, encodeArray(came)}
		}
		came = append(came, m)
	}
	found := p.matchAnyOrder(list, came)
	if found == nil {
		return &unmet{"no order of the messages matches", s.Arg, encodeArray(came)}
	}
	p.values = found.values
	return nil
}

// matchAnyOrder tries the first pattern with every message, then the others
// with those that are left; the lists are short.
func (b *bindings) matchAnyOrder(patterns, messages []json.RawMessage) *bindings {
	if len(patterns) == 0 {
		return b
	}
	for i, m := range messages {
		try := b.clone()
		if try.match(patterns[0], m) != nil {
			continue
		}
		left := slices.Delete(slices.Clone(messages), i, i+1)
		if found := try.matchAnyOrder(patterns[1:], left); found != nil {
			return found
		}
	}
	return nil
}

// expectClose waits for the peer's close code; 0 is any, 1006 none at all.
func (p *player) expectClose(ctx context.Context, c *connection, s *Step) error {
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	m, err := p.nextMessage(ctx, c, s.Ignoring, false)
	if err == nil {
		return &unmet{"a message came instead of the close", nil, m}
	}
	var closed *CloseError
	if !errors.As(err, &closed) {
		return err
	}
	p.logMessage("← %s: %v", c.name, closed)
	if code, _ := integerOf(s.Arg); code != 0 && int(code) != closed.Code {
		return &unmet{"another close code", s.Arg, encode(closed.Code)}
	}
	return nil
}

// silence expects that nothing comes. A message that is to be lost must have
// come by its end. Where time passes by itself, what comes meanwhile may have
// been due later: it is left to the steps that follow, and fails them unless
// they expect it.
func (p *player) silence(ctx context.Context, c *connection, s *Step) error {
	wait := p.expectNothing
	if !p.exact {
		wait = p.collect
	}
	if err := wait(ctx, c, milliseconds(s.Arg), s.Ignoring); err != nil {
		return err
	}
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	for c.received.lose > 0 {
		frame, err := c.conn.Recv(ctx)
		if err != nil {
			return fmt.Errorf("what is to be lost has not come: %w", err)
		}
		if err := c.arrive(frame); err != nil {
			return err
		}
	}
	return nil
}

// collect takes what comes within a time. What is not ignored and has no
// automatic reply waits for its step.
func (p *player) collect(ctx context.Context, c *connection, d time.Duration, ignoring []string) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	inbox := c.inbox
	defer func() { c.inbox = append(inbox, c.inbox...) }()
	c.inbox = nil
	for {
		m, err := p.nextMessage(ctx, c, ignoring, false)
		switch {
		case errors.Is(err, errQuiet):
			return nil
		case err != nil:
			return err
		}
		inbox = append(inbox, m)
	}
}

// expectNothing fails if a message comes.
func (p *player) expectNothing(ctx context.Context, c *connection, d time.Duration, ignoring []string) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	m, err := p.nextMessage(ctx, c, ignoring, false)
	switch {
	case errors.Is(err, errQuiet):
		return nil
	case err != nil:
		return err
	}
	return &unmet{"nothing should have come" + c.suffix, nil, m}
}
