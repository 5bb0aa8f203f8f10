package servertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/pay-theory/streamer/backend/streamer"
)

// Server is a real server that listens behind a gateway. It is safe for
// concurrent use.
type Server struct {
	*Gateway
	// URL is where clients connect, such as "ws://127.0.0.1:40123".
	URL string

	server *server.Server
	issuer *auth.Issuer // nil when Options.Server.Auth was given
	web    *http.Server
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	served sync.WaitGroup
	close  func() error
}

// logged is the number of log entries that a failed test prints.
const logged = 200

// New starts a server for a test, and closes it at the test's end. If the test has
// failed by then, it prints the seed and the end of the log. An error of the router
// or the options fails the test at once.
func New(t testing.TB, r *streamer.Router, o *Options) *Server {
	t.Helper()
	s, err := Start(r, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("servertest: seed %d; what the gateway did last:\n%s", s.options.Seed, formatNewest(s.Log(), logged))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Start is New without a test. Close the server after use.
func Start(r *streamer.Router, o *Options) (*Server, error) {
	filled, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{}
	var so server.Options
	if filled.Server != nil {
		so = *filled.Server
	}
	if so.Auth == nil {
		if s.issuer, err = auth.NewIssuer(nil); err == nil {
			so.Auth, err = s.issuer.Authenticator()
		}
		if err != nil {
			return nil, err
		}
	}
	if so.Queue == nil && so.Data == "" {
		so.Queue = memory.New(&memory.Options{Retention: so.Retention})
	}
	if queue, ok := so.Queue.(*memory.Store); ok {
		// The server claims with leases that never expire. Calls that an earlier
		// server left running are claimed again, as after opening a file.
		queue.VoidLeases()
	}
	if so.Logger == nil {
		so.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := s.listen(filled.Pipes)
	if err != nil {
		return nil, err
	}
	if s.server, err = server.New(r, &so); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.Gateway = newGateway(s.server.Handler(), filled)
	s.web = newWebServer(s.Gateway)
	s.served.Go(func() { _ = s.web.Serve(l) })
	s.close = sync.OnceValue(func() error {
		_ = s.web.Close()
		s.Gateway.Close()
		noGrace, cancel := context.WithCancel(context.Background())
		cancel()
		err := s.server.Shutdown(noGrace)
		s.served.Wait()
		return err
	})
	return s, nil
}

// listen starts listening for clients, in memory or on a free port.
func (s *Server) listen(pipes bool) (net.Listener, error) {
	if pipes {
		l := NewListener()
		s.URL, s.dial = "ws://streamer.test", l.DialContext
		return l, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("servertest: %w", err)
	}
	address := l.Addr().String()
	s.URL = "ws://" + address
	s.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	return l, nil
}

// Close cuts all connections, ends the server without grace for handlers, and waits
// until both have ended. It does not wait for handlers that ignore the end of their
// context. It may be called again.
func (s *Server) Close() error { return s.close() }

// Shutdown shuts the server down gracefully: clients are notified through the
// gateway, with its faults, and handlers may run until ctx ends. Then it closes the
// server.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	// The close frames are in flight to the clients, whether or not ctx has ended.
	soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*closeWait)
	defer cancel()
	s.Gateway.Shutdown(soon)
	return errors.Join(err, s.Close()) // what is left after the grace period gets none
}

// Token returns a token that the server accepts for a day from now on. A
// client should request one whenever it connects. Token panics if no server would
// accept the grant, or if Options.Server.Auth was given.
func (s *Server) Token(tenant, subject string, scopes ...string) string {
	if s.issuer == nil {
		panic("servertest: Token is for servers without Options.Server.Auth")
	}
	token, err := s.issuer.Mint(auth.Grant{Tenant: tenant, Subject: subject, Scopes: scopes, TTL: 24 * time.Hour})
	if err != nil {
		panic("servertest: " + err.Error())
	}
	return token
}

// DialContext opens a network connection to the server and ignores the address.
// With Options.Pipes it is the only way. It has the signature of net.Dialer's
// method.
func (s *Server) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return s.dial(ctx, network, address)
}

// Handler returns the server's own handler, without the gateway, for clients that
// no fault affects.
func (s *Server) Handler() http.Handler { return s.server.Handler() }
