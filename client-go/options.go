package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/session"
)

// Options configure a [Client]. Nil and the zero value of every field are
// useful. They are copied by [New] and [Dial].
type Options struct {
	// Token returns the token to connect with. It is called for every connect,
	// and before a token expires (the expiry is read from the token without
	// verifying it), so it should return a fresh one. After an error it is
	// called again with backoff, unless the error is an *Error with a code
	// that ends connecting, such as CodeUnauthorized. The context ends when
	// the client is closed. Nil: no token, unless Header has one.
	Token func(ctx context.Context) (string, error)

	// Header is sent with every connect. Token overrides its Authorization.
	Header http.Header
	// TLS configures wss connections. A WebSocket needs HTTP/1.1: "h2" in NextProtos is
	// ignored. Nil: the defaults of crypto/tls.
	TLS *tls.Config
	// DialContext opens network connections. Nil: a net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Proxy returns the proxy for a request. Nil: http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
	// ConnectTimeout limits one attempt to connect, including its call of
	// Token. Default 30 s.
	ConnectTimeout time.Duration

	// Backoff limits the random wait between attempts to connect.
	Backoff Backoff

	// MaxCalls limits how many calls are followed at a time; another one is
	// refused with CodeOverloaded. Default 10,000.
	MaxCalls int
	// Buffer is about how many bytes of events a call buffers for a slow
	// reader. What does not fit is fetched from the server later; nothing is
	// lost. Default 256 KiB, at least 16 KiB; a call buffers at most one page
	// of 96 KiB more.
	Buffer int
	// UnsentTimeout limits how long a request that was never sent waits for a
	// connection before it fails with CodeUnavailable. Default 1 min;
	// negative: only its context limits it.
	UnsentTimeout time.Duration

	// Logger gets problems of the connection, never payloads or tokens. Nil:
	// nothing is logged.
	Logger *slog.Logger

	// OnState is called with the client's state when it changes, one call at a
	// time, in a goroutine of its own. If it is slow it misses intermediate
	// states, but never the newest.
	OnState func(State)

	// timing is for tests.
	timing session.Timing
}

// Backoff is a random wait between 0 and min(Max, Base × 2^n) after n failures
// in a row (full jitter).
type Backoff struct {
	// Base is the first limit. Default 250 ms.
	Base time.Duration
	// Max limits the wait. Default 30 s.
	Max time.Duration
}

// offerHTTP1 removes HTTP/2 from what TLS offers, where an http.Transport that shares
// the configuration has added it.
func offerHTTP1(c *tls.Config) error {
	if c == nil || len(c.NextProtos) == 0 {
		return nil
	}
	c.NextProtos = slices.DeleteFunc(slices.Clone(c.NextProtos), func(p string) bool { return p == "h2" })
	if !slices.Contains(c.NextProtos, "http/1.1") {
		return errors.New("TLS.NextProtos must be empty or contain \"http/1.1\", which WebSockets need")
	}
	return nil
}

// withDefaults returns a copy with the defaults filled in.
func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	out.Header = out.Header.Clone()
	if out.TLS != nil {
		out.TLS = out.TLS.Clone()
	}
	if out.Proxy == nil {
		out.Proxy = http.ProxyFromEnvironment
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	// What is not positive gets the default.
	out.ConnectTimeout = cmp.Or(max(out.ConnectTimeout, 0), 30*time.Second)
	out.MaxCalls = cmp.Or(max(out.MaxCalls, 0), 10_000)
	out.Buffer = max(cmp.Or(max(out.Buffer, 0), 256<<10), 16<<10)
	out.timing.BackoffBase = cmp.Or(max(out.Backoff.Base, 0), out.timing.BackoffBase)
	out.timing.BackoffMax = cmp.Or(max(out.Backoff.Max, 0), out.timing.BackoffMax)
	out.timing.Unsent = cmp.Or(out.UnsentTimeout, out.timing.Unsent)
	return out
}
