package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"
)

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
	report(tb, known.Judge(t, Run(tb.Context(), t, target, nil)))
}

func report(tb TB, err error) {
	tb.Helper()
	var lacking *Lacking
	var known *KnownFailure
	switch {
	case errors.As(err, &lacking), errors.As(err, &known):
		tb.Skip(err)
	case err != nil:
		tb.Fatal(err)
	}
}

// Run plays a transcript against a server, and closes it. Errors: *Lacking
// when the target lacks an ability, *Failure when the transcript failed, or
// what closing came to.
func Run(ctx context.Context, t *Transcript, target Target, o *Options) error {
	err := runServer(ctx, t, target, o)
	return errors.Join(err, target.Close())
}

func runServer(ctx context.Context, t *Transcript, target Target, o *Options) error {
	if t.Tests != Server {
		return fmt.Errorf("transcript %s tests a %s", t.Name, t.Tests)
	}
	if lacking := missing(t.Needs, target.Abilities()); len(lacking) > 0 {
		return &Lacking{t.Name, lacking}
	}
	p := &serverPlayer{player: newPlayer(t, o, target, target.Abilities()), target: target, ledger: newLedger()}
	p.token = p.mint
	p.introduce()
	defer p.end()
	return p.play(ctx, p.do)
}

// serverPlayer plays the clients of a server.
type serverPlayer struct {
	*player
	target Target
	ledger *ledger
	// followed counts subscriptions, for their refs.
	followed int
}

// introduce lets the transcript speak of its identities: $alice.tenant and
// $alice.subject.
func (p *serverPlayer) introduce() {
	for name := range p.t.Identities {
		who := p.who(name)
		p.values[name+".tenant"] = appendText(nil, who.Tenant)
		p.values[name+".subject"] = appendText(nil, who.Subject)
	}
}

// who returns an identity, under the name that its tenant has on this server.
func (p *serverPlayer) who(name string) Identity {
	who := p.t.Identities[name]
	if who.Tenant != "" {
		who.Tenant = p.options.Prefix + who.Tenant
	}
	return who
}

func (p *serverPlayer) mint(name string) (string, error) {
	if _, ok := p.t.Identities[name]; !ok {
		return "", fmt.Errorf("nobody is called %q", name)
	}
	return p.target.Token(p.who(name))
}

func (p *serverPlayer) do(ctx context.Context, s *Step) error {
	if done, err := p.common(ctx, s); done {
		return err
	}
	switch s.Verb {
	case "connect":
		return p.connect(ctx, s)
	case "follow":
		return p.follow(ctx, s)
	case "poll":
		return p.poll(ctx, s)
	case "advanceMs":
		c, err := clockOf(p.target)
		if err != nil {
			return err
		}
		return c.Advance(ctx, milliseconds(s.Arg))
	case "kill":
		return p.kill(ctx, s)
	case "restart":
		r, ok := p.target.(Restarter)
		if !ok {
			return errors.New("the target has the ability restart, but is no Restarter")
		}
		return p.restart(ctx, s, r)
	case "shutdown":
		r, ok := p.target.(Stopper)
		if !ok {
			return errors.New("the target has the ability shutdown, but is no Stopper")
		}
		return r.Shutdown(ctx)
	case "handOver":
		r, ok := p.target.(Shifter)
		if !ok {
			return errors.New("the target has the ability handover, but is no Shifter")
		}
		return r.HandOver(ctx)
	case "stall", "resume":
		return p.stall(s)
	default:
		return p.gate(ctx, s)
	}
}

// connect opens a connection, or sees it refused.
func (p *serverPlayer) connect(ctx context.Context, s *Step) error {
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	who := p.who(s.text())
	conn, err := p.target.Connect(ctx, who)
	want, refused := s.with.get("refused")
	switch {
	case !refused && err != nil:
		return fmt.Errorf("connecting as %s: %w", s.text(), err)
	case !refused:
		return p.open(newLine(s.On, conn, func(frame []byte) error {
			return errors.Join(p.ledger.judge(who.Tenant, frame), p.tells(frame))
		}))
	case err == nil:
		conn.Cut()
		return &unmet{"the handshake was not refused", appendNode(nil, want), nil}
	}
	var r *Refusal
	if !errors.As(err, &r) {
		return err
	}
	came := appendNode(nil, refusalNode(r))
	if err := p.match(want, came); err != nil {
		return &unmet{"refused differently: " + err.Error(), appendNode(nil, want), came}
	}
	return nil
}

// pollEvery is how long poll waits before it asks again.
const pollEvery = 20 * time.Millisecond

// poll sends a message again and again, until the answer matches.
func (p *serverPlayer) poll(ctx context.Context, s *Step) error {
	l, err := p.line(s.On)
	if err != nil {
		return err
	}
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	until, _ := s.with.get("until")
	for {
		if err := p.send(l, s); err != nil {
			return err
		}
		m, err := p.next(ctx, l, s.Ignoring, false)
		if err != nil {
			return &unmet{"no answer" + onLine(l) + ": " + err.Error(), appendNode(nil, until), nil}
		}
		if err = p.match(until, m); err == nil {
			return nil
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return &unmet{"no answer" + onLine(l) + " has matched in time: " + err.Error(), appendNode(nil, until), m}
		}
	}
}

func refusalNode(r *Refusal) object {
	return object{
		{"status", number(r.Status)}, {"code", r.Code}, {"retryAfter", r.RetryAfter},
	}
}

// kill kills the process. Whatever becomes of its connections, nobody listens
// to them any more.
func (p *serverPlayer) kill(ctx context.Context, s *Step) error {
	k, ok := p.target.(Killer)
	if !ok {
		return errors.New("the target has the ability kill, but is no Killer")
	}
	when := When(s.text())
	if err := k.Kill(ctx, when); err != nil || when != Now {
		return err
	}
	p.note("— killed")
	p.cutAll()
	return nil
}

// restart starts a new process; the connections of the one before are dead.
func (p *serverPlayer) restart(ctx context.Context, s *Step, r Restarter) error {
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	if err := r.Restart(ctx); err != nil {
		return err
	}
	p.note("— restarted")
	p.cutAll()
	return nil
}

// stall stops reading a connection, or goes on.
func (p *serverPlayer) stall(s *Step) error {
	l, err := p.line(s.text())
	if err != nil {
		return err
	}
	c, ok := l.conn.(Staller)
	switch {
	case !ok:
		return errors.New("the target has the ability stall, its Conn is no Staller")
	case s.Verb == "stall":
		c.Stall()
	default:
		c.Resume()
	}
	return nil
}

func (p *serverPlayer) cutAll() {
	for _, l := range p.lines {
		l.drop(errors.New("its server is gone"))
	}
}

func (p *serverPlayer) gate(ctx context.Context, s *Step) error {
	g, ok := p.target.(Gatekeeper)
	switch {
	case !ok:
		return errors.New("the target has the ability gates, but is no Gatekeeper")
	case s.Verb == "release":
		g.Release(s.text())
		return nil
	case s.Verb == "await":
		ctx, cancel := p.within(ctx, s)
		defer cancel()
		return g.Await(ctx, s.text())
	}
	return fmt.Errorf("nobody has taught the player to %s", s.Verb)
}
