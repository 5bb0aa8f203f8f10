package conformance_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/conformance/actions"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/pay-theory/streamer/backend/streamer"
)

// host is where an embedded server lives: with its store and its network.
type host struct {
	// open opens the store, or opens it again.
	open func() (roles, error)
	// closeStore closes it; nil: there is nothing to close.
	closeStore func(roles) error
	// listen makes a network: where the server listens, and how it is dialled.
	listen func() (net.Listener, func(ctx context.Context) (net.Conn, error), error)
	// bubble reports that all of it is in a bubble, whose time can be moved.
	bubble bool
}

// inMemory opens a store in memory for a process. It voids the leases of the
// process before, as opening the file does for SQLite.
func inMemory(s *memory.Store) func() (roles, error) {
	return func() (roles, error) {
		s.VoidLeases()
		return s, nil
	}
}

// embedded is the whole embedded server as a target, reached by raw WebSocket.
type embedded struct {
	host     host
	settings conformance.Settings
	secret   []byte
	gates    gates

	mu      sync.Mutex
	queue   roles
	process *process
	server  *server.Server
	web     *http.Server
	dial    func(ctx context.Context) (net.Conn, error)
	conns   []*conformance.Socket
	ended   chan struct{} // closed when the process has ended
	endOnce *sync.Once
}

func newEmbedded(t testing.TB, h host, tr *conformance.Transcript) *embedded {
	t.Helper()
	e := &embedded{host: h, settings: tr.Settings, secret: make([]byte, 32)}
	_, _ = rand.Read(e.secret)
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
	return e
}

// start begins a process.
func (e *embedded) start() error {
	queue, err := e.host.open()
	if err != nil {
		return err
	}
	r := streamer.NewRouter(nil)
	actions.Register(r)
	e.gates.register(r)
	verify, err := auth.NewJWT(&auth.JWTOptions{Keys: []auth.Key{{Key: e.secret}}, Leeway: -1})
	if err != nil {
		return err
	}
	p := &process{}
	o := server.Options{
		Auth: verify, Queue: p.connect(queue), Logger: slog.New(slog.DiscardHandler), MaxConnections: e.settings.MaxConnections,
		MaxQuarantineCrashes: e.settings.MaxQuarantineCrashes,
	}
	if !e.host.bubble { // on a busy machine a step may take long
		o.Threshold, o.WriteTimeout = time.Minute, 10*time.Minute
	}
	s, err := server.New(r, &o)
	if err != nil {
		return err
	}
	l, dial, err := e.host.listen()
	if err != nil {
		return err
	}
	web := &http.Server{Handler: s.Handler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go func() { _ = web.Serve(l) }()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue, e.process, e.server, e.web, e.dial = queue, p, s, web, dial
	e.conns, e.ended, e.endOnce = nil, make(chan struct{}), &sync.Once{}
	return nil
}

// end ends the process with so much grace, once.
func (e *embedded) end(grace time.Duration) {
	e.endOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		_ = e.server.Shutdown(ctx)
		_ = e.web.Close()
		if e.host.closeStore != nil {
			_ = e.host.closeStore(e.queue)
		}
		close(e.ended)
	})
}

// die ends the process as a kill does: it writes no more to the store, and
// its clients find their connections cut.
func (e *embedded) die() {
	e.process.dead.Store(true)
	e.mu.Lock()
	conns := slices.Clone(e.conns)
	e.mu.Unlock()
	for _, c := range conns {
		c.Cut()
	}
	e.end(0)
}

func (e *embedded) Abilities() []conformance.Ability {
	have := []conformance.Ability{
		conformance.AbilityKill, conformance.AbilityNotify, conformance.AbilityRestart, conformance.AbilityShutdown,
		conformance.AbilityGates, conformance.AbilityHandshake, conformance.AbilityFrames, conformance.AbilitySettings,
		conformance.AbilityStall,
	}
	if e.host.bubble {
		have = append(have, conformance.AbilityClock)
	}
	return have
}

func (e *embedded) Now() time.Time { return time.Now() }

func (e *embedded) Advance(_ context.Context, d time.Duration) error {
	time.Sleep(d)
	synctest.Wait()
	return nil
}

func (e *embedded) Kill(_ context.Context, when conformance.When) error {
	if when != conformance.Now {
		e.process.arm(when, e.die)
		return nil
	}
	e.die()
	return nil
}

func (e *embedded) Restart(ctx context.Context) error {
	select {
	case <-e.ended:
	case <-ctx.Done():
		return errors.New("the process has not ended")
	}
	return e.start()
}

func (e *embedded) Shutdown(context.Context) error {
	go e.end(time.Duration(e.settings.GraceMs) * time.Millisecond)
	return nil
}

// HandOver is not supported: the embedded server has one worker.
func (*embedded) HandOver(context.Context) error { return errors.ErrUnsupported }

func (e *embedded) Await(ctx context.Context, gate string) error { return e.gates.await(ctx, gate) }
func (e *embedded) Release(gate string)                          { e.gates.release(gate) }

func (e *embedded) Close() error {
	e.die()
	<-e.ended
	return nil
}

// Token mints a token that began long enough ago to have expired, if it is to
// be expired.
func (e *embedded) Token(who conformance.Identity) (string, error) {
	secret := e.secret
	if who.Defect == conformance.Forged {
		secret = slices.Clone(secret)
		secret[0] ^= 1 // another secret, whatever this byte is
	}
	ttl, now := who.Expiry(), time.Now
	if ttl <= 0 {
		back := time.Second - ttl
		ttl, now = time.Second, func() time.Time { return time.Now().Add(-back) }
	}
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{Secret: secret, Now: now})
	if err != nil {
		return "", err
	}
	return issuer.Mint(auth.Grant{Tenant: who.Tenant, Subject: who.Subject, Scopes: who.Scopes, TTL: ttl})
}

func (e *embedded) Connect(ctx context.Context, who conformance.Identity) (conformance.Conn, error) {
	token := ""
	if who.Defect != conformance.Missing {
		var err error
		if token, err = e.Token(who); err != nil {
			return nil, err
		}
	}
	d := websocket.Dialer{NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return e.dial(ctx) }}
	ws, err := conformance.DialAs(ctx, &d, "ws://streamer.test/", &who, token)
	if err != nil {
		return nil, err
	}
	c := conformance.NewSocket(ws, e.process.received)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conns = append(e.conns, c)
	return c, nil
}
