package conformance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

const (
	// quietTime is for how long nothing more may come after the last step.
	quietTime = 50 * time.Millisecond
	// loggedMessages is how many messages a failure shows.
	loggedMessages = 16
)

// Options are optional; nil or zero: the defaults.
type Options struct {
	// MaxWait is how long an expected message may take. Default 60 s: it only
	// catches what never comes.
	MaxWait time.Duration
	// Wait is for how long a transcript may wait instead of moving the clock, on a
	// target without the ability Clock. Default: transcripts that move it are not
	// played.
	Wait time.Duration
	// Prefix is put before the name of each tenant, so that a transcript can
	// be played against a server that was used before. Servers only. Default
	// none.
	Prefix string
}

// TB is the part of testing.TB that Play and PlayClient use.
type TB interface {
	Helper()
	Context() context.Context
	Skip(args ...any)
	Fatal(args ...any)
}

// Play plays a transcript against a server and ends the test with what went
// wrong. When the target lacks an ability, or the failure is a known one, the
// test is skipped, and says why. It closes the target.
func Play(tb TB, t *Transcript, target Target, known KnownFailures) {
	tb.Helper()
	report(tb, known.interpret(t, Run(tb.Context(), t, target, nil)))
}

// PlayClient does with a client what Play does with a server.
func PlayClient(tb TB, t *Transcript, target ClientTarget, known KnownFailures) {
	tb.Helper()
	report(tb, known.interpret(t, RunClient(tb.Context(), t, target, nil)))
}

func report(tb TB, err error) {
	tb.Helper()
	var unsupported *UnsupportedError
	var known *KnownFailure
	switch {
	case errors.As(err, &unsupported), errors.As(err, &known):
		tb.Skip(err)
	case err != nil:
		tb.Fatal(err)
	}
}

// Run plays a transcript against a server, and closes it. Errors: an
// *UnsupportedError when the target lacks an ability, a *Failure when the
// transcript failed, or what closing returned.
func Run(ctx context.Context, t *Transcript, target Target, o *Options) error {
	p := &player{transcript: t, target: target, server: target, history: eventHistory{}}
	return errors.Join(p.play(ctx, Server, target.Abilities(), o), target.Close())
}

// RunClient plays a transcript against a client, and closes it. Errors are
// those of Run.
func RunClient(ctx context.Context, t *Transcript, target ClientTarget, o *Options) error {
	p := &player{transcript: t, target: target, client: target}
	return errors.Join(p.play(ctx, Client, target.Abilities(), o), target.Close())
}

// player plays one transcript: the clients of a server, or the server of a
// client.
type player struct {
	*bindings
	transcript  *Transcript
	options     Options
	target      any // what is under test: server or client; the other one is nil
	server      Target
	client      ClientTarget
	clock       Clock
	connections map[string]*connection // the newest of each name
	opened      []*connection          // all
	history     eventHistory
	subscribes  int // by follow
	log         []string
	// exact reports that the target's clock moves only when all that is due has
	// been done. Only then do the transcript's times say what must happen
	// within a time, and what must not: on other targets a busy machine can
	// make anything late.
	exact bool
}

// errNoRole is for targets that have an ability without what it is used by.
var errNoRole = errors.New("the target has the ability, but does not implement its role: Clock or Controller")

// waitingClock is the Clock for targets whose time cannot be moved: it waits.
type waitingClock struct{}

func (waitingClock) Now() time.Time { return time.Now() }

func (waitingClock) Advance(ctx context.Context, d time.Duration) error {
	_, err := receive(ctx, time.After(d))
	return err
}

// chooseClock takes the target's clock if it has one that can be moved.
func (p *player) chooseClock(abilities []Ability) error {
	p.clock = waitingClock{}
	if !slices.Contains(abilities, AbilityClock) {
		return nil
	}
	clock, ok := p.target.(Clock)
	switch {
	case ok:
		// A target with this method is one whose time also passes by itself.
		_, realTime := p.target.(interface{ realTime() })
		p.clock, p.exact = clock, !realTime
	case slices.Contains(p.transcript.Needs, AbilityClock):
		return errNoRole
	}
	return nil
}

// play plays the steps, and then makes sure that nothing more comes.
func (p *player) play(ctx context.Context, side Side, abilities []Ability, o *Options) error {
	t := p.transcript
	if t.Tests != side {
		return fmt.Errorf("transcript %s tests a %s", t.Name, t.Tests)
	}
	if o != nil {
		p.options = *o
	}
	p.options.MaxWait = cmp.Or(p.options.MaxWait, time.Minute)
	if err := p.chooseClock(abilities); err != nil {
		return err
	}
	if d := t.Waits(); d > 0 && d <= p.options.Wait {
		abilities = append(slices.Clone(abilities), AbilityClock) // it can be waited for
	}
	if lacked := missing(t.Needs, abilities); len(lacked) > 0 {
		return &UnsupportedError{t.Name, lacked}
	}
	p.bindings, p.connections = newBindings(t.IDs, p.clock.Now), map[string]*connection{}
	if side == Server {
		p.bindIdentities()
	}
	defer p.dropAll("the transcript has ended")
	for i := range t.Steps {
		err := p.playStep(ctx, &t.Steps[i])
		if ctx.Err() != nil {
			err = ctx.Err() // otherwise its end would be taken for silence
		}
		if err != nil {
			return p.failure(i+1, t.Steps[i].source, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.connections)) {
		if c := p.connections[name]; c.gone == nil {
			if err := p.expectNothing(ctx, c, quietTime, nil); err != nil {
				return p.failure(len(t.Steps)+1, "(after the last step)", err)
			}
		}
	}
	return nil
}

// playStep plays a step. Where time passes by itself its time only catches what
// never comes.
func (p *player) playStep(ctx context.Context, s *Step) error {
	v := verbs[s.Verb]
	if !v.unlimited {
		limit := cmp.Or(s.within, p.options.MaxWait)
		if !p.exact {
			limit = max(limit, p.options.MaxWait)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	if v.on == nil {
		return v.run(p, ctx, s)
	}
	c, ok := p.connections[s.on]
	if !ok {
		return fmt.Errorf("there is no connection %q", s.on)
	}
	return v.on(p, ctx, c, s)
}

// failure completes what is known of a failure.
func (p *player) failure(step int, source string, err error) *Failure {
	var f *Failure
	if !errors.As(err, &f) {
		f = &Failure{Why: err.Error()}
	}
	f.Transcript, f.Step, f.Of, f.Source, f.Conversation = p.transcript.Name, step, len(p.transcript.Steps), source, p.log
	for _, name := range slices.Sorted(maps.Keys(p.values)) {
		f.Bound = append(f.Bound, "$"+name+" = "+brief(p.values[name]))
	}
	return f
}

func (p *player) logMessage(format string, args ...any) {
	p.log = append(p.log, fmt.Sprintf(format, args...))
	if len(p.log) > loggedMessages {
		p.log = p.log[1:]
	}
}

// addConnection adds a connection; its name must be free, or the one before gone.
func (p *player) addConnection(name string, conn Conn, check func([]byte) error, replies ...autoReply) error {
	c := &connection{name: name, conn: conn, autoReplies: replies, followed: map[string]uint64{}}
	if name != mainConnection {
		c.suffix = " on " + name
	}
	c.check = func(frame []byte) error {
		for _, secret := range p.transcript.Secrets {
			if bytes.Contains(frame, []byte(secret)) {
				return fmt.Errorf("the frame discloses a secret, %q", secret)
			}
		}
		return check(frame)
	}
	p.opened = append(p.opened, c)
	if before, ok := p.connections[name]; ok && before.gone == nil {
		return fmt.Errorf("the connection %q is still open", name)
	}
	p.connections[name] = c
	p.logMessage("— %s connected", name)
	return nil
}

// dropAll cuts all connections.
func (p *player) dropAll(why string) {
	for _, c := range p.opened {
		c.disconnect(why)
	}
}

// send sends what a step says.
func (p *player) send(_ context.Context, c *connection, s *Step) error {
	var frame []byte
	var err error
	switch s.Verb {
	case "sendHex", "sendBinary":
		frame, err = hex.DecodeString(s.textArg())
	default:
		frame, err = p.expand(s.Arg)
	}
	switch {
	case err != nil:
		return err
	case s.Verb == "sendText":
		frame = []byte(stringOf(frame))
	case s.Verb == "sendBinary":
		p.logMessage("→ %s: binary %x", c.name, frame)
		return c.conn.SendBinary(frame)
	}
	return p.sendFrame(c, frame)
}

func (p *player) sendFrame(c *connection, frame []byte) error {
	fate, err := c.sendFrame(frame)
	p.logMessage("→ %s%s: %s", c.name, fate, brief(frame))
	return err
}

// injectFault lets something happen to the next frame of a direction.
func (*player) injectFault(_ context.Context, c *connection, s *Step) error {
	f := &c.sent
	if s.textArg() == received {
		f = &c.received
	}
	switch s.Verb {
	case "lose":
		f.lose++
	case "double":
		f.double++
	case "delay":
		f.delay++
	}
	return nil
}

// disturb stalls a connection, resumes it, or ends it.
func (p *player) disturb(_ context.Context, c *connection, s *Step) error {
	switch s.Verb {
	case "stall":
		c.conn.Stall()
	case "resume":
		c.conn.Resume()
	case "cut":
		p.logMessage("— %s cut by the player", c.name)
		c.disconnect("the player has cut it")
	case "close":
		code, _ := integerOf(s.Arg)
		p.logMessage("— %s closed by the player, %d", c.name, code)
		c.gone = errors.New("the player has closed it")
		return c.conn.Close(int(code))
	}
	return nil
}

// nextMessage returns the next message that is not ignored and has no automatic reply.
// With pings, a ping is not replied to.
func (p *player) nextMessage(ctx context.Context, c *connection, ignoring []string, pings bool) (json.RawMessage, error) {
	for {
		m, err := c.next(ctx)
		if err != nil {
			return nil, err
		}
		p.logMessage("← %s: %s", c.name, brief(m))
		kind := typeOf(m)
		switch {
		case slices.Contains(ignoring, kind) || c.isDuplicate(m):
			continue
		case pings && kind == wire.TypePing:
			return m, nil
		}
		if replied, err := p.autoReply(c, m); err != nil || !replied {
			return m, err
		}
	}
}

// typeOf returns a message's type; without one no pattern will match.
func typeOf(m json.RawMessage) string {
	var head struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(m, &head)
	return head.Type
}
