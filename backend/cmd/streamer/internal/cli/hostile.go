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

// hostility is the flag --hostile, or --hostile=SEED.
type hostility struct {
	on   bool
	seed uint64
}

// IsBool tells kong that the flag needs no value.
func (*hostility) IsBool() bool { return true }

// Decode takes the flag; without a seed, one by chance.
func (h *hostility) Decode(ctx *kong.DecodeContext) error {
	h.on, h.seed = true, rand.Uint64N(1_000_000)
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		return nil
	}
	text := fmt.Sprint(ctx.Scan.Pop().Value)
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("a seed is a whole number that is not negative, not %q", text)
	}
	h.seed = seed
	return nil
}

// hostile returns what serves the demo behind a hostile gateway, which shows
// what it does to whom.
func (k *demoCommand) hostile(a *App, s *server.Server) (func(context.Context, net.Listener) error, error) {
	st := a.outStyle()
	_, err := fmt.Fprintf(a.Stdout, "  %s  what clients go through is done again by --hostile=%d\n\n", st.red("hostile"), k.Hostile.seed)
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
	return func(ctx context.Context, l net.Listener) error { return serveBehind(ctx, l, gateway, s, k.Grace) }, nil
}

// serveBehind serves through a gateway until ctx ends, and shuts down: the
// server's goodbye goes to the clients as everything does.
func serveBehind(ctx context.Context, l net.Listener, gateway *servertest.Gateway, s *server.Server, grace time.Duration) error {
	web := &http.Server{Handler: gateway, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	served := make(chan error, 1)
	go func() {
		defer close(served)
		served <- web.Serve(l)
	}()
	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
	}
	_ = web.Close() // sockets live on
	for range served {
		continue // it was closed by us
	}
	running, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(grace, time.Millisecond))
	defer cancel()
	err = errors.Join(err, s.Shutdown(running))
	soon, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer stop()
	gateway.Shutdown(soon)
	return err
}
