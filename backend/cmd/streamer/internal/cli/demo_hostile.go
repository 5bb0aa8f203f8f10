package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/alecthomas/kong"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/servertest"
)

// hostileFlag is the flag --hostile, or --hostile=SEED.
type hostileFlag struct {
	set  bool
	seed uint64
}

// IsBool reports that the flag needs no value. Kong calls it.
func (*hostileFlag) IsBool() bool { return true }

// Decode parses the flag. Without a value the seed is random.
func (h *hostileFlag) Decode(ctx *kong.DecodeContext) error {
	h.set, h.seed = true, rand.Uint64N(1_000_000)
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		return nil
	}
	text := fmt.Sprint(ctx.Scan.Pop().Value)
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("the seed must be a whole number that is not negative, got %q", text)
	}
	h.seed = seed
	return nil
}

// serveHostile returns a function that serves the demo behind a gateway with
// faults, which are printed.
func (k *demoCommand) serveHostile(a *App, s *server.Server) (func(context.Context, net.Listener) error, error) {
	st := a.outStyle()
	_, err := fmt.Fprintf(a.Stdout, "  %s  --hostile=%d injects the same faults again\n\n", st.red("hostile"), k.Hostile.seed)
	if err != nil {
		return nil, err
	}
	o := servertest.Options{Seed: k.Hostile.seed, Faults: servertest.Rough()}
	if !k.Quiet {
		o.OnEntry = func(e servertest.Entry) {
			if e.Fault != "" {
				_, _ = fmt.Fprintln(a.Stdout, st.red("✗")+" "+st.dim(e.String()))
			}
		}
	}
	gateway, err := servertest.NewGateway(s.Handler(), &o)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, l net.Listener) error { return serveGateway(ctx, l, gateway, s, k.Grace) }, nil
}

// serveGateway serves until ctx ends. Then it shuts the server down before the
// gateway, so that the server's close messages reach the clients through it.
func serveGateway(ctx context.Context, l net.Listener, gateway *servertest.Gateway, s *server.Server, grace time.Duration) error {
	web := &http.Server{Handler: gateway, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	var err error
	select {
	case <-ctx.Done():
		_ = web.Close() // WebSockets stay open
		<-served        // the error is that of Close
	case err = <-served:
		_ = web.Close()
	}
	graceful, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(grace, time.Millisecond))
	defer cancel()
	err = errors.Join(err, s.Shutdown(graceful))
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer stop()
	gateway.Shutdown(last)
	return err
}
