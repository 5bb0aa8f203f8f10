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
	if name, arg, _ := operator(s.Arg); name == "$times" {
		list = repeated(arg)
	} else {
		list = messagesOf(s.Arg)
	}
	return list, slices.ContainsFunc(list, func(n json.RawMessage) bool { return typeOf(n) == wire.TypePing })
}

// mustMatch matches a value, and says in a failure what was wrong.
func (p *player) mustMatch(wrong string, pattern, value json.RawMessage) error {
	if err := p.match(pattern, value); err != nil {
		return unmet(wrong+": "+err.Error(), pattern, value)
	}
	return nil
}

// matchEach takes a value for each pattern, and matches it. what and whose name the
// values in a failure.
func (p *player) matchEach(patterns []json.RawMessage, what, whose string, next func() (json.RawMessage, error)) error {
	for i, pattern := range patterns {
		value, err := next()
		if err == nil {
			err = p.match(pattern, value)
		}
		if err != nil {
			return unmet(fmt.Sprintf("%s %d of %d%s: %v", what, i+1, len(patterns), whose, err), pattern, value)
		}
	}
	return nil
}

// expect takes messages in the order of the patterns.
func (p *player) expect(ctx context.Context, c *connection, s *Step) error {
	list, ping := patternsOf(s)
	return p.matchEach(list, "message", c.suffix, func() (json.RawMessage, error) {
		return p.nextMessage(ctx, c, s.ignoring, ping)
	})
}

// expectAnyOrder takes as many messages as there are patterns, and finds an
// order in which they match.
func (p *player) expectAnyOrder(ctx context.Context, c *connection, s *Step) error {
	list, ping := patternsOf(s)
	var came []json.RawMessage
	for range list {
		m, err := p.nextMessage(ctx, c, s.ignoring, ping)
		if err != nil {
			why := fmt.Sprintf("%d of %d messages came%s: %v", len(came), len(list), c.suffix, err)
			return unmet(why, s.Arg, encodeArray(came))
		}
		came = append(came, m)
	}
	found := p.matchAnyOrder(list, came)
	if found == nil {
		return unmet("no order of the messages matches", s.Arg, encodeArray(came))
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
	m, err := p.nextMessage(ctx, c, s.ignoring, false)
	if err == nil {
		return unmet("a message came instead of the close", nil, m)
	}
	var closed *CloseError
	if !errors.As(err, &closed) {
		return err
	}
	p.logMessage("← %s: %v", c.name, closed)
	if code, _ := integerOf(s.Arg); code != 0 && int(code) != closed.Code {
		return unmet("another close code", s.Arg, encode(closed.Code))
	}
	return nil
}

// silence expects that nothing comes. A message that is to be lost must have
// come by its end. Where time passes by itself, what comes meanwhile may have
// been due later: it is left to the steps that follow, and fails them unless
// they expect it.
func (p *player) silence(ctx context.Context, c *connection, s *Step) (err error) {
	if p.exact {
		err = p.expectNothing(ctx, c, milliseconds(s.Arg), s.ignoring)
	} else {
		c.inbox, err = p.collect(ctx, c, milliseconds(s.Arg), s.ignoring)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.options.MaxWait)
	defer cancel()
	for c.received.lose > 0 {
		if err := c.receive(ctx); err != nil {
			return fmt.Errorf("what is to be lost has not come: %w", err)
		}
	}
	return nil
}

// collect takes the messages that come within a time, are not ignored and have no
// automatic reply.
func (p *player) collect(ctx context.Context, c *connection, d time.Duration, ignoring []string) ([]json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var came []json.RawMessage
	for {
		m, err := p.nextMessage(ctx, c, ignoring, false)
		switch {
		case errors.Is(err, errQuiet):
			return came, nil
		case err != nil:
			return came, err
		}
		came = append(came, m)
	}
}

// expectNothing fails if a message comes.
func (p *player) expectNothing(ctx context.Context, c *connection, d time.Duration, ignoring []string) error {
	came, err := p.collect(ctx, c, d, ignoring)
	if len(came) > 0 {
		return unmet("nothing should have come"+c.suffix, nil, came[0])
	}
	return err
}
