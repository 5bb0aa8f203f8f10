// Package server is the embedded runtime of Streamer: sockets, workers and a
// SQLite file in one process.
//
//	r := streamer.NewRouter(nil)
//	streamer.Handle(r, "greet", greet)
//	err := server.Run(ctx, r, &server.Options{Auth: authenticator})
//
// [Run] listens by itself. [New] gives a server whose [Server.Handler] mounts
// in an http.Server of your own.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/engine"
	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/internal/session"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/pay-theory/streamer/backend/streamer"
)

// Server serves a router's actions. It is safe for concurrent use.
type Server struct {
	options Options
	auth    auth.Authenticator
	issuer  *auth.Issuer
	queue   store.RequestQueue
	own     *embedded.Store // nil when Options.Queue was given
	people  *memory.Store   // connections and subscriptions
	hub     *hub
	teller  *deliver.Teller
	engine  *engine.Engine
	session *session.Session
	mux     *http.ServeMux

	// ctx ends when the last word has been said.
	ctx      context.Context
	quit     context.CancelFunc
	draining atomic.Bool
	once     sync.Once
	// crew performs what the goroutines that read do not perform themselves.
	crew  *crew
	paces map[*core.Action]*pace
	// handshakes is how often one is judged.
	handshakes *quota.Rate
	// memory is what messages may hold.
	memory *quota.Pool
}

// Run serves until ctx ends, and then shuts down in good order. It returns nil
// after that, and an error when the server cannot start or listen.
func Run(ctx context.Context, r *streamer.Router, o *Options) error {
	s, err := New(r, o)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// New opens the store, begins to work off what it holds, and returns a server
// that is ready to be mounted. Close it with Shutdown.
func New(r *streamer.Router, o *Options) (*Server, error) {
	options, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	registry, err := r.Build()
	if err != nil {
		return nil, err
	}
	s := &Server{options: options, auth: options.Auth, queue: options.Queue, hub: &hub{conns: map[string]*conn{}}}
	if s.auth == nil {
		if s.issuer, err = auth.NewIssuer(nil); err == nil {
			s.auth, err = s.issuer.Authenticator()
		}
		if err != nil {
			return nil, err
		}
	}
	if s.queue == nil {
		s.own, err = embedded.Open(options.Data, &embedded.Options{Retention: options.Retention, Logger: options.Logger})
		if err != nil {
			return nil, err
		}
		s.queue = s.own
	}
	s.ctx, s.quit = context.WithCancel(context.Background())
	s.crew, s.paces = newCrew(s.ctx), newPaces(registry)
	s.handshakes, s.memory = quota.NewRate(options.HandshakeRate), quota.NewPool(options.MaxMemory)
	s.people = memory.New(nil)
	s.teller = deliver.NewTeller(s.people, s.hub, options.Logger)
	s.engine = engine.New(engine.Options{
		Store: s.queue, Registry: registry, Teller: s.teller, Logger: options.Logger, Workers: options.Workers,
		PoisonAfter: options.PoisonAfter, Threshold: options.Threshold, MaxInline: options.MaxInline,
	})
	s.session = &session.Session{
		Rules:  session.Rules{Registry: registry, Retention: options.Retention},
		Engine: s.engine, Store: s.queue, Teller: s.teller, Logger: options.Logger,
	}
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("GET /healthz", s.health)
	s.mux.HandleFunc("GET /readyz", s.ready)
	s.mux.HandleFunc("GET /", s.upgrade)
	if err := s.engine.Start(s.ctx); err != nil {
		s.quit()
		return nil, errors.Join(fmt.Errorf("server: the queue could not be read: %w", err), s.closeStore())
	}
	return s, nil
}

// Handler serves WebSockets on every path but /healthz and /readyz.
func (s *Server) Handler() http.Handler { return s.mux }

// DevelopmentToken returns a token for a server without Options.Auth.
func (s *Server) DevelopmentToken(g auth.Grant) (string, error) {
	if s.issuer == nil {
		return "", errors.New("server: development tokens are for servers without Options.Auth")
	}
	return s.issuer.Mint(g)
}

// Run listens on Options.Address until ctx ends, and then shuts down.
func (s *Server) Run(ctx context.Context) error {
	l, err := net.Listen("tcp", s.options.Address)
	if err != nil {
		return errors.Join(fmt.Errorf("server: %w", err), s.Shutdown(canceled()))
	}
	return s.Serve(ctx, l)
}

// canceled returns a context that is over: no grace.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Serve is Run on a listener of the caller's, which it closes.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	servers := []*http.Server{s.httpServer(s.mux)}
	listeners := []net.Listener{l}
	if s.options.AdminAddress != "" {
		admin, err := net.Listen("tcp", s.options.AdminAddress)
		if err != nil {
			return errors.Join(fmt.Errorf("server: admin: %w", err), l.Close(), s.Shutdown(canceled()))
		}
		servers, listeners = append(servers, s.httpServer(s.AdminHandler())), append(listeners, admin)
	}
	failed := make(chan error, len(servers))
	for i := range servers {
		s.options.Logger.Info("listening", "address", listeners[i].Addr().String(), "admin", i > 0)
		go func() { failed <- servers[i].Serve(listeners[i]) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	grace, cancel := context.WithTimeout(context.Background(), s.options.Grace)
	defer cancel()
	// The listeners close first, and nobody new comes; sockets live on.
	for _, h := range servers {
		quick, stop := context.WithTimeout(context.Background(), time.Second)
		if h.Shutdown(quick) != nil {
			_ = h.Close()
		}
		stop()
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, s.Shutdown(grace))
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: s.options.HandshakeTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
		ConnState: newHandshaking(s.options.MaxHandshakes).watch,
	}
}

// Shutdown says goodbye: new connections and calls are refused, clients are
// told, handlers may end until ctx does, the rest is put back into the queue,
// and the connections are closed. It may be called again; that waits, too.
func (s *Server) Shutdown(ctx context.Context) error {
	var err error
	s.once.Do(func() {
		s.draining.Store(true)
		for _, c := range s.hub.close() {
			c.say(c.closing("shutdown", true))
		}
		err = s.engine.Stop(ctx)
		for _, c := range s.hub.all() {
			c.goodbye("", true, wire.CloseRestart)
		}
		s.awaitReaders()
		s.quit()
		s.awaitTasks()
		err = errors.Join(err, s.closeStore())
	})
	return err
}

// awaitReaders waits until the peers have answered the close, or cuts them off.
func (s *Server) awaitReaders() {
	gone := make(chan struct{})
	go func() {
		s.hub.readers.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(closeTimeout):
		for _, c := range s.hub.all() {
			c.shut()
		}
		<-gone
	}
}

// awaitTasks waits for the messages that are being performed. Handlers that
// ignore their context's end are left behind.
func (s *Server) awaitTasks() {
	done := make(chan struct{})
	go func() {
		s.crew.busy.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
		s.options.Logger.Warn("handlers that ignore their context's end are left behind")
	}
}

func (s *Server) closeStore() error {
	if s.own == nil {
		return nil
	}
	return s.own.Close()
}

// left cleans up behind a connection that has ended.
func (s *Server) left(c *conn) {
	defer s.hub.remove(c)
	c.shut()
	ctx := context.Background()
	if err := errors.Join(s.teller.Leave(ctx, c.address), s.people.DeleteConnection(ctx, c.address.Tenant, c.address.Connection)); err != nil {
		c.log.Warn("a connection could not be forgotten", "error", err)
	}
	c.log.Debug("disconnected")
}
