package server

import (
	"cmp"
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
	// Origins are the origins of pages that may connect, as
	// "https://app.example.com"; "*" allows all. Letter case, the default port and a
	// slash at the end make no difference. Default: the server's own origin.
	Origins []string
	// AllowQueryToken accepts the token as ?access_token=. Such tokens end up
	// in access logs. Default false.
	AllowQueryToken bool

	// Logger gets no payloads and no tokens. Default: slog.Default().
	Logger *slog.Logger
	// Workers is how many durable calls run at once; more wait in the store. It
	// bounds what their handlers hold, as memory and connections to a database.
	// Default 1,000.
	Workers int
	// MaxQuarantineCrashes is how often a quarantined call may crash the process
	// before it is a dead letter. Default 3.
	MaxQuarantineCrashes int
	// Grace is how long Shutdown lets handlers run on. Default 30 s.
	Grace time.Duration

	// MaxConnections bounds the connections. Default 20,000. No tenant gets
	// all: one that is alone gets four in five, the next one four fifths of
	// what is left, and so on. Beyond, handshakes are answered 503.
	MaxConnections int
	// MaxTenantConnections bounds a tenant's connections further. Default 0:
	// it does not.
	MaxTenantConnections int
	// MaxSubjectConnections bounds the connections of one subject of a tenant.
	// Default 0: no bound of its own, for some have all visitors speak as one.
	MaxSubjectConnections int
	// MaxHandshakes bounds the sockets that Run and Serve hold whose handshake
	// is not over: beyond it no other is accepted, and those that have taken
	// longer than a second make room. Default 4,096.
	MaxHandshakes int
	// HandshakeTimeout closes sockets that take longer to send their
	// handshake, if Run or Serve accepted them. Default 10 s.
	HandshakeTimeout time.Duration
	// HandshakeRate is how many handshakes are judged in a second; others are
	// answered 503. Default 5,000.
	HandshakeRate int

	// MaxInline bounds the calls that run without being stored first, those
	// that were promoted since included. Default 10,000, shared by tenants as
	// MaxConnections is. Beyond, requests are refused as overloaded.
	MaxInline int
	// MaxPending bounds the unanswered messages of one connection. Default
	// 2,048. Beyond, messages are refused as overloaded.
	MaxPending int
	// PendingBytes bounds what the unanswered messages of one connection hold:
	// what they brought, and what their answers will be, for which the size of
	// their action's answers of late is taken. Default 8 MiB. Beyond, messages
	// are refused as overloaded. A connection for which twice as much waits to
	// be read is closed, 1013.
	PendingBytes int
	// MaxMemory bounds, in bytes, what messages hold on all connections
	// together: what counts for PendingBytes, and what waits to be sent. What
	// is below 8 KiB of either on a connection is not counted. Default 512
	// MiB, shared by tenants as MaxConnections is. Beyond, messages are
	// refused as overloaded, streams lag, and connections for which answers
	// wait are closed, 1013.
	MaxMemory int
	// MaxStreams bounds the streams that one connection follows; those that
	// are being answered may come on top. Default 10,000. Beyond, requests and
	// subscribes are refused as overloaded.
	MaxStreams int
	// MessageRate is how many messages a second one connection may send, after
	// a second of rest as many at once. Beyond, they are refused as
	// overloaded, and whoever goes on all the same is read no faster. Default
	// 0: no limit.
	MessageRate int
	// CallRate is the same for a tenant's requests. Default 0: no limit.
	CallRate int
	// OutboxBytes is how much may wait to be sent to one connection before
	// its streams lag, and before it is read no more. Default 1 MiB.
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

	origins originRule // of Origins
}

// withDefaults returns a copy with every default filled in, or an error that
// names the wrong option.
func (o *Options) withDefaults() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	out.Address = cmp.Or(out.Address, "127.0.0.1:8080")
	out.Data = cmp.Or(out.Data, "streamer.db")
	times := map[*time.Duration]time.Duration{
		&out.Retention: store.DefaultRetention, &out.Grace: 30 * time.Second, &out.IdleTimeout: 10 * time.Minute,
		&out.HandshakeTimeout: 10 * time.Second, &out.MaxLife: 2 * time.Hour, &out.WriteTimeout: 30 * time.Second,
		&out.ReconnectWithin: 3 * time.Second, &out.Threshold: core.Threshold,
	}
	counts := map[*int]int{
		&out.MaxConnections: 20_000, &out.MaxTenantConnections: 0, &out.MaxSubjectConnections: 0,
		&out.MaxHandshakes: 4096, &out.HandshakeRate: 5000, &out.MaxInline: 10_000, &out.MaxPending: 2048,
		&out.PendingBytes: 8 << 20, &out.MaxMemory: 512 << 20, &out.MaxStreams: 10_000, &out.MessageRate: 0,
		&out.CallRate: 0, &out.OutboxBytes: 1 << 20,
	}
	if !setDefaults(times) {
		return out, errors.New("server: an option of time is negative")
	}
	if !setDefaults(counts) {
		return out, errors.New("server: an option of count is negative")
	}
	if out.IdleTimeout > 10*time.Minute || out.MaxLife > 2*time.Hour {
		return out, errors.New("server: IdleTimeout is at most 10 min and MaxLife 2 h, as on API Gateway")
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	out.Logger = guarded(out.Logger)
	var err error
	if out.origins, err = newOriginRule(out.Origins); err != nil {
		return out, err
	}
	return out, out.checkAuth()
}

// setDefaults sets the options that are zero. It returns false if one is negative.
func setDefaults[N int | time.Duration](defaults map[*N]N) bool {
	for option, value := range defaults {
		if *option < 0 {
			return false
		}
		*option = cmp.Or(*option, value)
	}
	return true
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
