package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// bindIdentities binds $alice.tenant and $alice.subject, and makes tokens.
func (p *player) bindIdentities() {
	for name := range p.transcript.Identities {
		who := p.identity(name)
		p.values[name+".tenant"], p.values[name+".subject"] = encode(who.Tenant), encode(who.Subject)
	}
	p.token = func(name string) (string, error) {
		if _, ok := p.transcript.Identities[name]; !ok {
			return "", fmt.Errorf("there is no identity %q", name)
		}
		return p.server.Token(p.identity(name))
	}
}

// identity returns an identity, with the name that its tenant has on this
// server.
func (p *player) identity(name string) Identity {
	who := p.transcript.Identities[name]
	if who.Tenant != "" {
		who.Tenant = p.options.Prefix + who.Tenant
	}
	return who
}

// connect opens a connection, or expects that it is refused.
func (p *player) connect(ctx context.Context, s *Step) error {
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	who := p.identity(s.textArg())
	conn, err := p.server.Connect(ctx, who)
	want, refused := s.with["refused"]
	switch {
	case !refused && err != nil:
		return fmt.Errorf("connecting as %s: %w", s.textArg(), err)
	case !refused:
		return p.addConnection(s.On, conn, func(frame []byte) error { return p.history.checkFrame(who.Tenant, frame) })
	case err == nil:
		conn.Cut()
		return &unmet{"the handshake was not refused", want, nil}
	}
	var r *Refusal
	if !errors.As(err, &r) {
		return err
	}
	came := encodeObject([]member{{"status", encode(r.Status)}, {"code", encode(r.Code)}, {"retryAfter", encode(r.RetryAfter)}})
	if err := p.match(want, came); err != nil {
		return &unmet{"refused differently: " + err.Error(), want, came}
	}
	return nil
}

// pollInterval is how long poll waits before it asks again.
const pollInterval = 20 * time.Millisecond

// poll sends a message again and again, until the answer matches.
func (p *player) poll(ctx context.Context, c *connection, s *Step) error {
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	until := s.with["until"]
	for {
		if err := p.send(ctx, c, s); err != nil {
			return err
		}
		m, err := p.nextMessage(ctx, c, s.Ignoring, false)
		if err != nil {
			return &unmet{"no answer" + c.suffix + ": " + err.Error(), until, nil}
		}
		if err = p.match(until, m); err == nil {
			return nil
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return &unmet{"no answer" + c.suffix + " has matched in time: " + err.Error(), until, m}
		}
	}
}

// kill kills the process. No connection can be used afterwards.
func (p *player) kill(ctx context.Context, s *Step) error {
	when := When(s.textArg())
	if err := p.target.(Controller).Kill(ctx, when); err != nil || when != Now {
		return err
	}
	p.logMessage("— killed")
	p.dropAll("its server is gone")
	return nil
}

// restart starts a new process; the connections of the one before are gone.
func (p *player) restart(ctx context.Context, s *Step) error {
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	if err := p.target.(Controller).Restart(ctx); err != nil {
		return err
	}
	p.logMessage("— restarted")
	p.dropAll("its server is gone")
	return nil
}

func (p *player) shutdown(ctx context.Context, _ *Step) error {
	return p.target.(Controller).Shutdown(ctx)
}

func (p *player) handOver(ctx context.Context, _ *Step) error {
	return p.target.(Controller).HandOver(ctx)
}

func (p *player) await(ctx context.Context, s *Step) error {
	ctx, cancel := p.within(ctx, s)
	defer cancel()
	return p.target.(Controller).Await(ctx, s.textArg())
}

func (p *player) release(_ context.Context, s *Step) error {
	p.target.(Controller).Release(s.textArg())
	return nil
}

// stall stops reading from a connection, or resumes it.
func (*player) stall(_ context.Context, c *connection, s *Step) error {
	if s.Verb == "stall" {
		c.conn.Stall()
	} else {
		c.conn.Resume()
	}
	return nil
}
