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
	Subprotocols:     []string{wire.Subprotocol},
	// The origin was judged before.
	CheckOrigin: func(*http.Request) bool { return true },
	Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
		refuse(w, status, wire.CodeNotStreamer, reason.Error())
	},
}

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
		refuse(w, http.StatusServiceUnavailable, wire.CodeUnavailable, "the server is shutting down")
		return
	case s.hub.len() >= s.options.MaxConnections:
		refuse(w, http.StatusServiceUnavailable, wire.CodeUnavailable, "the server has no room for more connections")
		return
	case !s.originAllowed(r):
		refuse(w, http.StatusForbidden, wire.CodeOriginRefused, "this origin is not allowed")
		return
	case !websocket.IsWebSocketUpgrade(r):
		w.Header().Set("Upgrade", "websocket")
		refuse(w, http.StatusUpgradeRequired, wire.CodeNotStreamer, "this is a WebSocket endpoint; connect with the subprotocol "+wire.Subprotocol)
		return
	case !slices.Contains(websocket.Subprotocols(r), wire.Subprotocol):
		refuse(w, http.StatusBadRequest, wire.CodeNotStreamer, "offer the subprotocol "+wire.Subprotocol)
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
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // answered by upgrader.Error
	}
	s.open(ws, id)
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

// open registers a connection and begins to read it.
func (s *Server) open(ws *websocket.Conn, id auth.Identity) {
	now := time.Now()
	c := &conn{
		s: s, ws: ws, since: now, subject: id.Subject,
		address: deliver.Address{Tenant: id.Tenant, Connection: wire.NewID()},
		out:     outbox{limit: s.options.OutboxBytes}, pages: make(chan struct{}, maxPages),
	}
	c.log = s.options.Logger.With("connection", c.address.Connection, "tenant", id.Tenant)
	c.heard.Store(now.UnixNano())
	c.identity.Store(&id)
	c.facts.Store(&session.Facts{
		Connection: c.address.Connection, Tenant: id.Tenant, Subject: id.Subject, Scopes: id.Scopes, Expires: expiry(id), Hold: c.hold,
	})
	if !s.hub.add(c, s.options.MaxConnections) {
		c.closeFrame(wire.CloseTryLater)
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
	go c.read()
}
