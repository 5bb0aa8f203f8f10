package conformance

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// Options says how patient a player is. Nil or zero: the defaults.
type Options struct {
	// Patience is how long an expected message may take. Default 60 s: it only
	// catches what never comes.
	Patience time.Duration
	// Quiet is for how long nothing more may come behind the last step.
	// Default 50 ms.
	Quiet time.Duration
	// Prefix stands before the name of each tenant, so that a transcript can
	// be played on a server that has been used before. Servers only. Default:
	// none.
	Prefix string
}

func (o *Options) defaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Patience <= 0 {
		out.Patience = 60 * time.Second
	}
	if out.Quiet <= 0 {
		out.Quiet = 50 * time.Millisecond
	}
	return out
}

// remembered is how many messages a failure shows.
const remembered = 16

// player is what playing against a server and against a client have in common.
type player struct {
	*scope
	t       *Transcript
	options Options
	lines   map[string]*line
	log     []string
	// exact tells that the target's clock moves only when all that was to be
	// done at a time is done. Only then do the transcript's times say what must
	// happen within a time, and what must not: elsewhere a busy machine makes
	// anything late.
	exact bool
}

func newPlayer(t *Transcript, o *Options, target any, abilities []Ability) *player {
	_, real := target.(realTimer)
	return &player{
		scope: newScope(t.IDs, nowOf(target)), t: t, options: o.defaults(), lines: map[string]*line{},
		exact: slices.Contains(abilities, AbilityClock) && !real,
	}
}

// realTimer is a target that may have the ability clock, and whose time passes
// by itself all the same.
type realTimer interface{ realTime() }

// play runs the steps, then waits for what should not come.
func (p *player) play(ctx context.Context, do func(context.Context, *Step) error) error {
	for i := range p.t.Steps {
		s := &p.t.Steps[i]
		err := do(ctx, s)
		if ctx.Err() != nil {
			err = ctx.Err() // or else a silence would be taken for a kept one
		}
		if err != nil {
			return p.failure(i+1, s.source, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.lines)) {
		l := p.lines[name]
		if l.gone != nil {
			continue
		}
		if err := p.silence(ctx, l, p.options.Quiet, nil); err != nil {
			return p.failure(len(p.t.Steps)+1, "(behind the last step)", err)
		}
	}
	return nil
}

// unmet is an expectation that was not met.
type unmet struct {
	why      string
	expected []byte
	came     []byte
}

func (u *unmet) Error() string { return u.why }

func (p *player) failure(step int, source string, err error) *Failure {
	f := &Failure{
		Transcript: p.t.Name, Step: step, Of: len(p.t.Steps), Source: source, Why: err.Error(), Conversation: p.log,
	}
	var u *unmet
	if errors.As(err, &u) {
		f.Expected, f.Came = brief(u.expected), brief(u.came)
	}
	for _, name := range slices.Sorted(maps.Keys(p.values)) {
		f.Bound = append(f.Bound, "$"+name+" = "+brief(p.values[name]))
	}
	return f
}

func (p *player) note(format string, args ...any) {
	p.log = append(p.log, fmt.Sprintf(format, args...))
	if len(p.log) > remembered {
		p.log = p.log[1:]
	}
}

// line returns a connection that a step names.
func (p *player) line(name string) (*line, error) {
	l, ok := p.lines[name]
	if !ok {
		return nil, fmt.Errorf("there is no connection %q", name)
	}
	return l, nil
}

// open adds a connection; its name must be free or its bearer gone.
func (p *player) open(l *line) error {
	if before, ok := p.lines[l.name]; ok && before.gone == nil {
		l.conn.Cut()
		return fmt.Errorf("the connection %q is still there", l.name)
	}
	p.lines[l.name] = l
	p.note("— %s connected", l.name)
	return nil
}

// end cuts all connections.
func (p *player) end() {
	for _, l := range p.lines {
		l.drop(errors.New("the transcript is over"))
	}
}

// common does the steps that both sides know; ok is false for all others.
func (p *player) common(ctx context.Context, s *Step) (ok bool, err error) {
	if s.Verb == "advanceMs" {
		return false, nil
	}
	if _, known := verbs[s.Verb]; !known {
		return false, nil
	}
	name := s.On
	if s.Verb == "cut" {
		name = s.text()
	}
	l, err := p.line(name)
	if err != nil {
		return true, err
	}
	switch s.Verb {
	case "send", "sendText", "sendHex", "sendBinary":
		return true, p.send(l, s)
	case "expect":
		return true, p.expect(ctx, l, s)
	case "expectAnyOrder":
		return true, p.expectAnyOrder(ctx, l, s)
	case "expectClose":
		return true, p.expectClose(ctx, l, s)
	case "silenceMs":
		return true, p.keepSilence(ctx, l, s)
	case "lose":
		l.faults[s.text()].lose++
	case "double":
		l.faults[s.text()].double++
	case "delay":
		l.faults[s.text()].delay++
	case "close":
		code, _ := integer(s.Arg)
		l.gone = errors.New("the player has closed it")
		p.note("— %s closed by the player, %d", l.name, code)
		return true, l.conn.Close(int(code))
	case "cut":
		p.note("— %s cut by the player", l.name)
		l.drop(errors.New("the player has cut it"))
	}
	return true, nil
}

// send works out what a step sends, and sends it.
func (p *player) send(l *line, s *Step) error {
	var frame []byte
	switch s.Verb {
	case "sendHex", "sendBinary":
		var err error
		if frame, err = hex.DecodeString(s.text()); err != nil {
			return err
		}
	case "sendText":
		n, err := p.expand(s.Arg)
		if err != nil {
			return err
		}
		text, ok := n.(string)
		if !ok {
			return fmt.Errorf("sendText sends a text, not %s", appendNode(nil, n))
		}
		frame = []byte(text)
	default:
		n, err := p.expand(s.Arg)
		if err != nil {
			return err
		}
		frame = appendNode(nil, n)
	}
	if s.Verb == "sendBinary" {
		p.note("→ %s: binary %x", l.name, frame)
		b, ok := l.conn.(BinarySender)
		if !ok {
			return errors.New("the target has the ability frames, its Conn is no BinarySender")
		}
		return b.SendBinary(frame)
	}
	fate, err := l.send(frame)
	p.note("→ %s%s: %s", l.name, fate, brief(frame))
	return err
}

// tells refuses a frame that holds a secret.
func (p *player) tells(frame []byte) error {
	for _, secret := range p.t.Secrets {
		if bytes.Contains(frame, []byte(secret)) {
			return fmt.Errorf("the frame tells a secret, %q", secret)
		}
	}
	return nil
}

// within returns a context for the time that a step may take. Where time passes
// by itself it only catches what never comes.
func (p *player) within(ctx context.Context, s *Step) (context.Context, context.CancelFunc) {
	d := s.Within
	if d == 0 || !p.exact && d < p.options.Patience {
		d = p.options.Patience
	}
	return context.WithTimeout(ctx, d)
}

// next returns the next message that is not passed over.
func (p *player) next(ctx context.Context, l *line, ignoring []string, pings bool) (json.RawMessage, error) {
	for {
		m, err := l.next(ctx)
		if err != nil {
			return nil, err
		}
		p.note("← %s: %s", l.name, brief(m))
		kind := typeOf(m)
		if slices.Contains(ignoring, kind) || l.hasTaken(m) {
			continue
		}
		answered := false
		if kind != wire.TypePing || !pings {
			if answered, err = p.stands(l, m); err != nil {
				return nil, err
			}
		}
		if !answered {
			return m, nil
		}
	}
}

func typeOf(m json.RawMessage) string {
	var head struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(m, &head) // no type: the pattern will not match
	return head.Type
}

// asksForPing tells whether one of the patterns is a ping.
func asksForPing(list []any) bool {
	return slices.ContainsFunc(list, func(n any) bool {
		o, ok := n.(object)
		if !ok {
			return false
		}
		kind, _ := o.get("type")
		return kind == "ping"
	})
}

// expect takes messages in the order of the patterns.
func (p *player) expect(ctx context.Context, l *line, s *Step) error {
	list, err := patterns(s.Arg)
	if err != nil {
		return err
	}
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	for i, pattern := range list {
		m, err := p.next(ctx, l, s.Ignoring, asksForPing(list))
		if err == nil {
			err = p.match(pattern, m)
		}
		if err != nil {
			return &unmet{fmt.Sprintf("message %d of %d%s: %v", i+1, len(list), onLine(l), err), appendNode(nil, pattern), m}
		}
	}
	return nil
}

func onLine(l *line) string {
	if l.name == mainLine {
		return ""
	}
	return " on " + l.name
}

// expectAnyOrder takes as many messages as there are patterns, and finds an
// order in which they match.
func (p *player) expectAnyOrder(ctx context.Context, l *line, s *Step) error {
	list := s.Arg.([]any)
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	var came []json.RawMessage
	for range list {
		m, err := p.next(ctx, l, s.Ignoring, asksForPing(list))
		if err != nil {
			why := fmt.Sprintf("%d of %d messages came%s: %v", len(came), len(list), onLine(l), err)
			return &unmet{why, appendNode(nil, list), joined(came)}
		}
		came = append(came, m)
	}
	if found := p.assign(list, came); found != nil {
		p.adopt(found)
		return nil
	}
	return &unmet{"no order of the messages matches", appendNode(nil, list), joined(came)}
}

// assign tries the first pattern with every message, then the rest with what
// is left; the lists are short.
func (s *scope) assign(patterns []any, messages []json.RawMessage) *scope {
	if len(patterns) == 0 {
		return s
	}
	for i, m := range messages {
		try := s.fork()
		if try.match(patterns[0], m) != nil {
			continue
		}
		left := slices.Delete(slices.Clone(messages), i, i+1)
		if found := try.assign(patterns[1:], left); found != nil {
			return found
		}
	}
	return nil
}

func joined(messages []json.RawMessage) []byte {
	texts := make([]string, len(messages))
	for i, m := range messages {
		texts[i] = string(m)
	}
	return []byte("[" + strings.Join(texts, ", ") + "]")
}

// expectClose waits for the peer's close code; 0 is any, 1006 none at all.
func (p *player) expectClose(ctx context.Context, l *line, s *Step) error {
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	m, err := p.next(ctx, l, s.Ignoring, false)
	if err == nil {
		return &unmet{"a message came instead of the close", nil, m}
	}
	var closed *CloseError
	if !errors.As(err, &closed) {
		return err
	}
	p.note("← %s: %v", l.name, closed)
	if code, _ := integer(s.Arg); code != 0 && int(code) != closed.Code {
		return &unmet{"another close code", fmt.Append(nil, code), fmt.Append(nil, closed.Code)}
	}
	return nil
}

// keepSilence does the step silenceMs. A message that is to be lost must have
// come by its end. Where time passes by itself, what comes meanwhile may have
// been due later: it is left to the steps that follow, and fails them unless
// they expect it.
func (p *player) keepSilence(ctx context.Context, l *line, s *Step) error {
	d := milliseconds(s.Arg)
	if p.exact {
		if err := p.silence(ctx, l, d, s.Ignoring); err != nil {
			return err
		}
	} else if err := p.collect(ctx, l, d, s.Ignoring); err != nil {
		return err
	}
	if l.faults[received].lose == 0 {
		return nil
	}
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	for l.faults[received].lose > 0 {
		frame, err := l.conn.Recv(ctx)
		if err != nil {
			return fmt.Errorf("what is to be lost has not come: %w", err)
		}
		if err := l.arrive(frame); err != nil {
			return err
		}
	}
	return nil
}

// collect takes in what comes within a time, answers what has a standing answer
// and passes over what is ignored. The rest waits for its step.
func (p *player) collect(ctx context.Context, l *line, d time.Duration, ignoring []string) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	inbox := l.inbox
	defer func() { l.inbox = append(inbox, l.inbox...) }()
	l.inbox = nil
	for {
		m, err := p.next(ctx, l, ignoring, false)
		switch {
		case errors.Is(err, errQuiet):
			return nil
		case err != nil:
			return err
		}
		inbox = append(inbox, m)
	}
}

// silence fails if anything comes.
func (p *player) silence(ctx context.Context, l *line, d time.Duration, ignoring []string) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	m, err := p.next(ctx, l, ignoring, false)
	switch {
	case errors.Is(err, errQuiet):
		return nil
	case err != nil:
		return err
	}
	return &unmet{"nothing should have come" + onLine(l), nil, m}
}

// clockOf returns the clock of a target with that ability.
func clockOf(target any) (Clock, error) {
	c, ok := target.(Clock)
	if !ok {
		return nil, errors.New("the target has the ability clock, but is no Clock")
	}
	return c, nil
}

// nowOf returns the target's clock.
func nowOf(target any) func() time.Time {
	if c, ok := target.(Clock); ok {
		return c.Now
	}
	return time.Now
}
