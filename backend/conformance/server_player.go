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
	who := p.identity(s.textArg())
	conn, err := p.server.Connect(ctx, who)
	want, refused := s.with["refused"]
	var r *Refusal
	switch {
	case refused && err == nil:
		conn.Cut()
		return unmet("the handshake was not refused", want, nil)
	case refused && errors.As(err, &r):
		return p.mustMatch("refused differently", want, encodeObject([]member{
			{"status", encode(r.Status)}, {"code", encode(r.Code)}, {"retryAfter", encode(r.RetryAfter)},
		}))
	case err != nil:
		return fmt.Errorf("connecting as %s: %w", s.textArg(), err)
	}
	return p.addConnection(s.on, conn, func(frame []byte) error { return p.history.checkFrame(who.Tenant, frame) })
}

// pollInterval is how long poll waits before it asks again.
const pollInterval = 20 * time.Millisecond

// poll sends a message again and again, until the answer matches.
func (p *player) poll(ctx context.Context, c *connection, s *Step) error {
	until := s.with["until"]
	for {
		if err := p.send(ctx, c, s); err != nil {
			return err
		}
		m, err := p.nextMessage(ctx, c, s.ignoring, false)
		if err != nil {
			return unmet("no answer"+c.suffix+": "+err.Error(), until, nil)
		}
		if err = p.match(until, m); err == nil {
			return nil
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return unmet("no answer"+c.suffix+" has matched in time: "+err.Error(), until, m)
		}
	}
}

// control controls the server's process. After a kill and a restart no
// connection can be used.
func (p *player) control(ctx context.Context, s *Step) error {
	target, ok := p.target.(Controller)
	if !ok {
		return errNoRole
	}
	arg := s.textArg()
	switch s.Verb {
	case "await":
		return target.Await(ctx, arg)
	case "release":
		target.Release(arg)
		return nil
	case "shutdown":
		return target.Shutdown(ctx)
	case "handOver":
		return target.HandOver(ctx)
	case "kill":
		if err := target.Kill(ctx, When(arg)); err != nil || When(arg) != Now {
			return err
		}
		p.logMessage("— killed")
	case "restart":
		if err := target.Restart(ctx); err != nil {
			return err
		}
		p.logMessage("— restarted")
	}
	p.dropAll("its server is gone")
	return nil
}
