package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/store"
)

// Options configures a server. The zero value is refused for want of an
// Authenticator; everything else has a default.
type Options struct {
	// Address is where Run listens. Default "127.0.0.1:8080".
	Address string
	// AdminAddress is where Run listens for operators. Empty: nowhere.
	AdminAddress string
	// Data is the path of the SQLite file. Default "streamer.db".
	Data string
	// Retention is for how long calls are kept after their end. Default 7
	// days.
	Retention time.Duration

	// Auth verifies tokens.
	Auth auth.Authenticator
	// Development lets the server start without Auth: it makes a secret of
	// its own (see Server.DevelopmentToken), and listens on loopback only.
	Development bool
	// Origins are the origins that browsers may come from, as
	// "https://app.example.com"; "*" allows all. Default: the server's own.
	Origins []string
	// AllowQueryToken accepts the token as ?access_token=. Such tokens end up
	// in access logs. Default false.
	AllowQueryToken bool

	// Logger gets no payloads and no tokens. Default: slog.Default().
	Logger *slog.Logger
	// Workers is how many durable calls run at once. Default 64.
	Workers int
	// PoisonAfter is how often a suspect may die alone before it is a dead
	// letter. Default 3.
	PoisonAfter int
	// Grace is how long Shutdown lets handlers run on. Default 30 s.
	Grace time.Duration

	// MaxConnections bounds the connections. Default 20,000.
	MaxConnections int
	// MaxPending bounds the unanswered messages of one connection. Default
	// 2,048.
	MaxPending int
	// OutboxBytes is how much may wait to be sent to one connection before
	// its streams lag. Default 1 MiB.
	OutboxBytes int
	// IdleTimeout closes connections that send nothing. Default, and at most,
	// 10 min.
	IdleTimeout time.Duration
	// MaxLife closes connections by age. Default, and at most, 2 h.
	MaxLife time.Duration
	// WriteTimeout closes connections whose peer takes nothing. Default 30 s.
	WriteTimeout time.Duration
	// ReconnectWithin is over what time clients spread their return when the
	// server closes. Default 3 s.
	ReconnectWithin time.Duration
	// Threshold is when an inline call is promoted, and from what expectation
	// on a call is stored before it runs. Default 5 s.
	Threshold time.Duration

	// Queue replaces the SQLite file, for tests. The server does not close it.
	Queue store.RequestQueue
}

// withDefaults returns a copy with every default filled in, or an error that
// names the wrong option.
func (o *Options) withDefaults() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	texts := map[*string]string{&out.Address: "127.0.0.1:8080", &out.Data: "streamer.db"}
	for p, v := range texts {
		if *p == "" {
			*p = v
		}
	}
	times := map[*time.Duration]time.Duration{
		&out.Retention: store.DefaultRetention, &out.Grace: 30 * time.Second, &out.IdleTimeout: 10 * time.Minute,
		&out.MaxLife: 2 * time.Hour, &out.WriteTimeout: writeTimeout, &out.ReconnectWithin: 3 * time.Second, &out.Threshold: core.Threshold,
	}
	for p, v := range times {
		if *p < 0 {
			return out, errors.New("server: an option of time is negative")
		}
		if *p == 0 {
			*p = v
		}
	}
	counts := map[*int]int{&out.MaxConnections: 20_000, &out.MaxPending: 2048, &out.OutboxBytes: 1 << 20}
	for p, v := range counts {
		if *p < 0 {
			return out, errors.New("server: an option of count is negative")
		}
		if *p == 0 {
			*p = v
		}
	}
	if out.IdleTimeout > 10*time.Minute || out.MaxLife > 2*time.Hour {
		return out, errors.New("server: IdleTimeout is at most 10 min and MaxLife 2 h, as on API Gateway")
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	return out, out.checkAuth()
}

func (o *Options) checkAuth() error {
	if o.Auth != nil {
		return nil
	}
	if !o.Development {
		return errors.New("server: Auth is not set; to try things out, set Development, which listens on loopback only")
	}
	for _, address := range []string{o.Address, o.AdminAddress} {
		if address != "" && !loopback(address) {
			return fmt.Errorf("server: %s is not a loopback address; without Auth the server listens on loopback only", address)
		}
	}
	return nil
}

// loopback tells whether an address names this machine alone.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
