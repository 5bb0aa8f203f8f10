package conformance_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/conformance/actions"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/servertest"
	"github.com/pay-theory/streamer/backend/store"
	sqlite "github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/require"
)

// place says where an embedded server lives.
type place struct {
	// bubble: in a bubble, whose time can be moved, behind a network of pipes.
	// Otherwise it is reached by TCP.
	bubble bool
	// file is that of its SQLite store. Empty: the store is in memory.
	file string
}

// embedded is the whole embedded server as a target, reached by raw WebSocket.
type embedded struct {
	*conformance.Remote
	place
	memory   *memory.Store
	settings conformance.Settings
	secret   []byte
	gates    gates
	*process
}

// process is a server's process as its store and its clients see it. Once it is
// dead nothing of it reaches the store any more, and no answer of the store
// reaches it: to the store, that is what being killed looks like.
type process struct {
	dead   atomic.Bool
	server *server.Server
	web    *http.Server
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	url    string
	// end ends the process, the first time with so much grace; later it returns at
	// once. ended is closed when the process has ended.
	end   func(grace time.Duration)
	ended chan struct{}

	mu    sync.Mutex
	conns []conformance.Conn
	// when is the moment at which it is to be killed, and endStored tells that an
	// end became durable since that is known.
	when      conformance.When
	endStored bool
}

func newEmbedded(t testing.TB, where place, settings conformance.Settings) *embedded {
	t.Helper()
	e := &embedded{place: where, memory: memory.New(nil), settings: settings, secret: make([]byte, 32)}
	_, _ = rand.Read(e.secret)
	require.NoError(t, e.start())
	return e
}

// start begins a process.
func (e *embedded) start() error {
	p := &process{ended: make(chan struct{})}
	queue, closeStore := faultstore.Roles(e.memory), func() error { return nil }
	if e.file == "" {
		e.memory.VoidLeases() // of the process before, as opening the file does for SQLite
	} else {
		s, err := sqlite.Open(e.file, nil)
		if err != nil {
			return err
		}
		queue, closeStore = s, s.Close
	}
	r := streamer.NewRouter(nil)
	actions.Register(r)
	e.gates.register(r)
	verify, err := auth.NewJWT(&auth.JWTOptions{Keys: []auth.Key{{Key: e.secret}}, Leeway: -1})
	if err != nil {
		return err
	}
	o := server.Options{
		Auth: verify, Queue: p.connect(queue), Logger: slog.New(slog.DiscardHandler), MaxConnections: e.settings.MaxConnections,
		MaxQuarantineCrashes: e.settings.MaxQuarantineCrashes,
	}
	if !e.bubble { // on a busy machine a step may take long
		o.Threshold, o.WriteTimeout = time.Minute, 10*time.Minute
	}
	if p.server, err = server.New(r, &o); err != nil {
		return err
	}
	listener, err := p.listen(e.bubble)
	if err != nil {
		return err
	}
	p.web = &http.Server{Handler: p.server.Handler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go func() { _ = p.web.Serve(listener) }()
	var begun atomic.Bool // no sync.Once: in a bubble no time passes while a mutex is waited for
	p.end = func(grace time.Duration) {
		if begun.Swap(true) {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		_ = p.server.Shutdown(ctx)
		_ = p.web.Close()
		_ = closeStore()
		close(p.ended)
	}
	e.process = p
	e.Remote = conformance.NewRemote(&conformance.RemoteOptions{
		URL: p.url, Mint: e.mint, Dialer: &websocket.Dialer{NetDialContext: p.dial}, OnFrame: p.received,
	})
	return nil
}

// listen makes the network: where the server listens, and how it is dialled.
func (p *process) listen(bubble bool) (net.Listener, error) {
	if bubble {
		l := servertest.NewListener()
		p.dial, p.url = l.DialContext, "ws://streamer.test/"
		return l, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.dial, p.url = new(net.Dialer).DialContext, "ws://"+l.Addr().String()+"/"
	return l, nil
}

// connect returns the store as the process finds it.
func (p *process) connect(base faultstore.Roles) *faultstore.Store {
	ifDead := func(err error) error {
		if p.dead.Load() {
			return store.ErrClosed
		}
		return err
	}
	return faultstore.New(base, faultstore.Hooks{
		Before: func(faultstore.Op, store.Key) error { return ifDead(nil) },
		After: func(op faultstore.Op, key store.Key, err error) error {
			if op == faultstore.Finish && err == nil {
				if s, _, err := base.Read(context.Background(), key, 0, 0); err == nil && s.Status.Ended() {
					p.onEndStored()
				}
			}
			return ifDead(err)
		},
	})
}

// onEndStored notes that an end is durable.
func (p *process) onEndStored() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endStored = p.when == conformance.AfterNotify
	if p.when == conformance.BeforeNotify {
		p.killSoon()
	}
}

// received notes that a client has received a frame: with the end, if it holds
// one.
func (p *process) received(frame []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := bytes.Contains(frame, []byte(`"type":"result"`)) || bytes.Contains(frame, []byte(`"type":"error"`))
	if end && p.endStored {
		p.killSoon()
	}
}

// killSoon kills the process from another goroutine. p.mu is locked.
func (p *process) killSoon() {
	p.when, p.endStored = "", false
	p.dead.Store(true)
	go p.die()
}

// die ends the process as a kill does: it writes no more to the store, and
// its clients find their connections cut.
func (p *process) die() {
	p.dead.Store(true)
	p.mu.Lock()
	conns := slices.Clone(p.conns)
	p.mu.Unlock()
	for _, c := range conns {
		c.Cut()
	}
	p.end(0)
}

func (e *embedded) Abilities() []conformance.Ability {
	have := []conformance.Ability{
		conformance.AbilityKill, conformance.AbilityNotify, conformance.AbilityRestart, conformance.AbilityShutdown,
		conformance.AbilityGates, conformance.AbilityHandshake, conformance.AbilityFrames, conformance.AbilitySettings,
		conformance.AbilityStall,
	}
	if e.bubble {
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
	if when == conformance.Now {
		e.die()
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.when = when
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
func (e *embedded) Release(gate string)                          { e.gates.gate(gate).open() }

func (e *embedded) Close() error {
	e.die()
	<-e.ended
	return nil
}

// mint makes a token that began long enough ago to have expired, if it is to be
// expired.
func (e *embedded) mint(_ context.Context, who conformance.Identity) (string, error) {
	ttl, now := who.Expiry(), time.Now
	if ttl <= 0 {
		back := time.Second - ttl
		ttl, now = time.Second, func() time.Time { return time.Now().Add(-back) }
	}
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{Secret: e.secret, Now: now})
	if err != nil {
		return "", err
	}
	return issuer.Mint(auth.Grant{Tenant: who.Tenant, Subject: who.Subject, Scopes: who.Scopes, TTL: ttl})
}

func (e *embedded) Connect(ctx context.Context, who conformance.Identity) (conformance.Conn, error) {
	c, err := e.Remote.Connect(ctx, who)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conns = append(e.conns, c)
	return c, nil
}
