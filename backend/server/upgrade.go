package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/session"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
)

var upgrader = websocket.Upgrader{
	HandshakeTimeout: 10 * time.Second,
	ReadBufferSize:   1024,
	WriteBufferSize:  1024,
	WriteBufferPool:  &sync.Pool{},
	// The origin was judged before.
	CheckOrigin: func(*http.Request) bool { return true },
	Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
		refuse(w, status, wire.CodeNotStreamer, reason.Error())
	},
}

// picked says which subprotocol the server picks: that it is offered was judged
// before.
var picked = http.Header{"Sec-Websocket-Protocol": {wire.Subprotocol}}

// refuse answers a handshake that does not come to a connection.
func refuse(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "message": text})
}

// upgrade turns a handshake into a connection. The reading goes on in a
// goroutine of its own, so that net/http's buffers of this request are freed.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.draining.Load():
		refuse(w, http.StatusServiceUnavailable, wire.CodeUnavailable, shuttingDown)
		return
	case s.hub.full(&s.options):
		refuse(w, http.StatusServiceUnavailable, wire.CodeUnavailable, serverFull)
		return
	case !s.originAllowed(r):
		refuse(w, http.StatusForbidden, wire.CodeOriginRefused, "this origin is not allowed")
		return
	case !websocket.IsWebSocketUpgrade(r):
		w.Header().Set("Upgrade", "websocket")
		refuse(w, http.StatusUpgradeRequired, wire.CodeNotStreamer, "this is a WebSocket endpoint; connect with the subprotocol "+wire.Subprotocol)
		return
	case !offered(r.Header.Values("Sec-Websocket-Protocol")):
		refuse(w, http.StatusBadRequest, wire.CodeNotStreamer, "offer the subprotocol "+wire.Subprotocol+", in a header of at most 9 KiB")
		return
	}
	if s.handshakes.Take(time.Now()) > 0 {
		refuse(w, http.StatusServiceUnavailable, wire.CodeUnavailable, "too many handshakes at once")
		return
	}
	token, ok := auth.FromRequest(r, s.options.AllowQueryToken)
	if !ok {
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, wire.CodeUnauthorized, "a bearer token is required")
		return
	}
	id, err := s.authenticate(r.Context(), token)
	if err != nil {
		code, text, status := authRefusal(err)
		refuse(w, status, code, text)
		return
	}
	t, refusal := s.hub.reserve(id, &s.options)
	if refusal != "" {
		refuse(w, http.StatusServiceUnavailable, wire.CodeUnavailable, refusal)
		return
	}
	ws, err := upgrader.Upgrade(w, r, picked)
	if err != nil {
		s.hub.release(id)
		return // answered by upgrader.Error
	}
	s.open(ws, id, t)
}

// maxOffer bounds the bytes of Sec-WebSocket-Protocol that are looked at: a
// token and some names of versions.
const maxOffer = wire.MaxToken + 1024

// offered tells whether a client offers our subprotocol, in no more words than
// it takes.
func offered(lines []string) (ours bool) {
	size := 0
	for _, line := range lines {
		if size += len(line); size > maxOffer {
			return false
		}
		for entry := range strings.SplitSeq(line, ",") {
			ours = ours || strings.Trim(entry, " \t") == wire.Subprotocol
		}
	}
	return ours
}

// authenticate verifies a token, and holds foreign authenticators to the rules
// of identities.
func (s *Server) authenticate(ctx context.Context, token string) (id auth.Identity, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = auth.ErrUnavailable
			s.options.Logger.Error("the authenticator panicked", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	id, err = s.auth.Authenticate(ctx, token)
	if err != nil {
		return auth.Identity{}, err
	}
	if err := id.Validate(); err != nil {
		return auth.Identity{}, &auth.Error{Kind: auth.ErrUnauthorized, Reason: err.Error()}
	}
	return id, nil
}

// authRefusal is what a refused token is answered with.
func authRefusal(err error) (code, text string, status int) {
	switch {
	case errors.Is(err, auth.ErrExpired):
		return wire.CodeTokenExpired, "the token has expired", http.StatusUnauthorized
	case errors.Is(err, auth.ErrUnauthorized):
		return wire.CodeUnauthorized, "the token does not verify", http.StatusUnauthorized
	}
	return wire.CodeUnavailable, "tokens cannot be verified now", http.StatusServiceUnavailable
}

// originAllowed judges the page that a browser comes from. Other clients send
// no origin.
func (s *Server) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(s.options.Origins, "*") {
		return true
	}
	if len(s.options.Origins) > 0 {
		return slices.ContainsFunc(s.options.Origins, func(o string) bool { return strings.EqualFold(o, origin) })
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// open registers a connection, for which there is a place, and begins to read
// it.
func (s *Server) open(ws *websocket.Conn, id auth.Identity, t *tenant) {
	now := time.Now()
	c := &conn{
		s: s, ws: ws, since: now, subject: id.Subject, tenant: t,
		address: deliver.Address{Tenant: id.Tenant, Connection: wire.NewID()},
		out:     outbox{limit: s.options.OutboxBytes, most: s.options.OutboxBytes + 2*s.options.PendingBytes}, pages: make(chan struct{}, maxPages),
	}
	c.log = s.options.Logger.With("connection", c.address.Connection, "tenant", id.Tenant)
	c.heard.Store(now.UnixNano())
	c.identity.Store(&id)
	c.facts.Store(&session.Facts{
		Connection: c.address.Connection, Tenant: id.Tenant, Subject: id.Subject, Scopes: id.Scopes, Expires: expiry(id), Hold: c.hold,
	})
	for _, a := range []*allowance{&c.allowed, &c.out.allowed} {
		a.pool, a.share = s.memory, &t.memory
	}
	c.messages.Limit(s.options.MessageRate)
	if !s.hub.add(c) {
		c.closeFrame(wire.CloseRestart)
		c.shut()
		return
	}
	err := s.people.PutConnection(context.Background(), store.Connection{
		Tenant: id.Tenant, Subject: id.Subject, ID: c.address.Connection, Status: store.Open, Connected: now,
		Expires: now.Add(s.options.MaxLife + 10*time.Minute),
	})
	if err != nil {
		c.log.Warn("a connection could not be registered", "error", err)
	}
	c.log.Debug("connected")
	c.watch()
	ws.SetReadLimit(wire.MaxClientMessage)
	if s.options.MessageRate > 0 {
		c.limitPings()
	}
	go c.read()
}
