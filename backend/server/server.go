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
	"github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/backend/streamer"
)

// Server serves a router's actions. It is safe for concurrent use.
type Server struct {
	shared
	issuer *auth.Issuer    // nil when Options.Auth was given
	file   *embedded.Store // nil when Options.Queue was given

	hub           *hub
	subscriptions *deliver.Subscriptions
	notifier      *deliver.Notifier
	scheduler     *engine.Scheduler
	engine        *engine.Engine
	mux           *http.ServeMux

	quit     context.CancelFunc
	draining atomic.Bool
	once     sync.Once
	closeErr error // what Shutdown returns
	// handshakes is how often a handshake is judged.
	handshakes *quota.Rate
	// memory is what messages may hold.
	memory *quota.Pool
}

// Run serves until ctx ends, and then shuts down gracefully. It returns nil after
// that, and an error when the server cannot start or listen.
func Run(ctx context.Context, r *streamer.Router, o *Options) error {
	s, err := New(r, o)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// New opens the store, begins to run the calls that it holds, and returns a server
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
	s := &Server{}
	if options.Auth == nil {
		if s.issuer, err = auth.NewIssuer(nil); err == nil {
			options.Auth, err = s.issuer.Authenticator()
		}
		if err != nil {
			return nil, err
		}
	}
	if options.Queue == nil {
		s.file, err = embedded.Open(options.Data, &embedded.Options{Retention: options.Retention, Logger: options.Logger})
		if err != nil {
			return nil, err
		}
		options.Queue = s.file
	}
	s.build(&options, registry)
	if err := s.scheduler.Start(s.ctx, s.engine); err != nil {
		return nil, errors.Join(fmt.Errorf("server: the queue could not be read: %w", err), s.Shutdown(canceled()))
	}
	return s, nil
}

// build makes the parts and connects them.
func (s *Server) build(o *Options, registry *core.Registry) {
	s.ctx, s.quit = context.WithCancel(context.Background())
	s.handshakes, s.memory = quota.NewRate(o.HandshakeRate), quota.NewPool(o.MaxMemory)
	s.hub = newHub(o)
	s.subscriptions = deliver.NewSubscriptions(nil)
	s.notifier = deliver.New(s.subscriptions, o.Logger)
	s.scheduler = engine.NewScheduler(engine.SchedulerOptions{Workers: o.Workers, Logger: o.Logger})
	s.engine = engine.New(engine.Options{
		Store: o.Queue, Registry: registry, Notifier: s.notifier, Dispatcher: s.scheduler, Logger: o.Logger,
		MaxQuarantineCrashes: o.MaxQuarantineCrashes, Threshold: o.Threshold, MaxInline: o.MaxInline,
	})
	s.options, s.pool, s.latency = o, newWorkerPool(s.ctx), newLatencyStats(registry)
	s.session = &session.Session{
		Registry: registry, Engine: s.engine, Store: o.Queue, Notifier: s.notifier, Logger: o.Logger,
		Authenticate: s.authenticateInBand, Retention: o.Retention, Threshold: o.Threshold,
		HandlerContext: context.Background(),
	}
	s.mux = s.newMux()
	s.mux.HandleFunc("GET /", s.upgrade)
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

// canceled returns a context that has ended: no grace.
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
	// The listeners close first; WebSockets stay open.
	for _, h := range servers {
		short, stop := context.WithTimeout(context.Background(), time.Second)
		if h.Shutdown(short) != nil {
			_ = h.Close()
		}
		stop()
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, s.Shutdown(context.Background()))
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: s.options.HandshakeTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
		ConnState: newHandshakeLimiter(s.options.MaxHandshakes).onState,
	}
}

// Shutdown drains the server: it refuses new connections and calls, announces the
// end to clients, lets handlers run until ctx or Options.Grace ends, puts the rest
// back into the queue, and closes the connections. It may be called again, and then
// waits, too.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, s.options.Grace)
		defer cancel()
		s.draining.Store(true)
		s.scheduler.Stop()
		s.engine.RefuseNew() // before the first client is notified
		for _, c := range s.hub.close() {
			c.send(c.closing("shutdown", true))
		}
		s.engine.Stop(ctx)
		s.scheduler.Wait()
		for _, c := range s.hub.all() {
			c.closeWithReason("", true, wire.CloseRestart)
		}
		s.hub.awaitReaders()
		s.quit()
		s.awaitTasks()
		if s.file != nil {
			s.closeErr = s.file.Close()
		}
	})
	return s.closeErr
}

// awaitTasks waits for the messages that are being carried out. Handlers that
// ignore the end of their context are not waited for.
func (s *Server) awaitTasks() {
	select {
	case <-done(&s.pool.busy):
	case <-time.After(closeTimeout):
		s.options.Logger.Warn("handlers that ignore the end of their context still run")
	}
}
