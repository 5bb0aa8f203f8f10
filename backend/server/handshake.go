package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/session"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

var upgrader = websocket.Upgrader{
	HandshakeTimeout: 10 * time.Second,
	ReadBufferSize:   1024,
	WriteBufferSize:  1024,
	WriteBufferPool:  &sync.Pool{},
	// The origin was checked before.
	CheckOrigin: func(*http.Request) bool { return true },
	Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
		code := wire.CodeNotStreamer
		if status >= http.StatusInternalServerError {
			code = wire.CodeUnavailable
		}
		refuse(w, status, code, reason.Error())
	},
}

// hijacker is a ResponseWriter that may be wrapped by middleware, for the upgrader,
// which does not look behind that.
type hijacker struct {
	http.ResponseWriter
	log *slog.Logger
}

// Hijack implements http.Hijacker.
func (h hijacker) Hijack() (conn net.Conn, rw *bufio.ReadWriter, err error) {
	conn, rw, err = http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		h.log.Error("no connection can be upgraded: middleware hides the connection; it needs Hijack or Unwrap", "error", err)
	}
	return conn, rw, err
}

// responseHeader picks the subprotocol; that it is offered was checked before.
var responseHeader = http.Header{"Sec-Websocket-Protocol": {wire.Subprotocol}}

// refuse answers a request with an error.
func refuse(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "message": text})
}

// upgrade turns a handshake into a connection. Reading continues on another
// goroutine, so that net/http frees its buffers of this request.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.draining.Load():
		refuse(w, http.StatusServiceUnavailable, wire.CodeUnavailable, shuttingDown)
		return
	case s.hub.isFull():
		refuse(w, http.StatusServiceUnavailable, wire.CodeUnavailable, serverFull)
		return
	case !s.options.origins.allows(r.Header.Get("Origin"), r.Host):
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
	t, reason := s.hub.reserve(&id)
	if reason != "" {
		refuse(w, http.StatusServiceUnavailable, wire.CodeUnavailable, reason)
		return
	}
	ws, err := upgrader.Upgrade(hijacker{w, s.options.Logger}, r, responseHeader)
	if err != nil {
		s.hub.release(id.Tenant, id.Subject)
		return // answered by upgrader.Error
	}
	s.open(ws, id, t)
}

// maxOffer bounds the bytes of Sec-WebSocket-Protocol that are read: a token and
// some names of versions.
const maxOffer = wire.MaxToken + 1024

// offered reports whether a client offers our subprotocol, within maxOffer bytes.
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

// authenticate verifies a token, and checks the identity that the authenticator
// returns. Its errors are those of package auth: methods of the authenticator's own
// errors may panic.
func (s *Server) authenticate(ctx context.Context, token string) (id auth.Identity, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = auth.ErrUnavailable
			s.options.Logger.Error("the authenticator panicked", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	id, err = s.options.Auth.Authenticate(ctx, token)
	if err == nil {
		if err = id.Validate(); err == nil {
			return id, nil
		}
		return auth.Identity{}, auth.ErrUnauthorized
	}
	for _, kind := range []error{auth.ErrExpired, auth.ErrUnauthorized} {
		if errors.Is(err, kind) {
			return auth.Identity{}, kind
		}
	}
	return auth.Identity{}, auth.ErrUnavailable
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

// open adds a connection, for which there is room, and begins to read it.
func (s *Server) open(ws *websocket.Conn, id auth.Identity, t *tenant) {
	o := s.options
	now := time.Now()
	c := &connection{
		shared: &s.shared, ws: ws, connectedAt: now, pages: make(chan struct{}, maxPages),
		info: session.ConnInfo{Connection: wire.NewID(), Identity: session.Identity(id)},
	}
	address := c.info.Address()
	c.info.AcquirePageSlot = c.acquirePageSlot
	c.log = o.Logger.With("connection", c.info.Connection, "tenant", id.Tenant)
	c.lastReceived.Store(now.UnixNano())
	c.limits.options, c.limits.ctx, c.limits.tenant = o, s.ctx, t
	c.limits.budget.pool, c.limits.budget.share = s.memory, &t.memory
	c.limits.messages.Limit(o.MessageRate)
	c.limits.countStreams = func() int { return s.subscriptions.Count(address) }
	c.onDisconnect = func() { s.disconnected(c) }
	drain := taskFunc(func() { _ = c.out.Drain(s.ctx) })
	c.out = s.notifier.Open(address, deliver.OutboxOptions{
		Sender: c, Limit: o.OutboxBytes, HardLimit: o.OutboxBytes + 2*o.PendingBytes,
		Budget: &memoryBudget{pool: s.memory, share: &t.memory},
		Start:  func(*deliver.Outbox) { s.pool.start(drain) },
	})
	c.lease.out, c.lease.pool, c.lease.read = c.out, s.pool, c.read
	if !s.hub.add(c) {
		c.Close(s.ctx, address, wire.CloseRestart)
		c.closeNow()
		_ = s.session.Disconnected(s.ctx, address)
		return
	}
	c.log.Debug("connected")
	c.checkEnd()
	ws.SetReadLimit(wire.MaxClientMessage)
	if o.MessageRate > 0 {
		c.limitPings()
	}
	go c.read()
}

// disconnected cleans up after a connection whose reading has ended.
func (s *Server) disconnected(c *connection) {
	defer s.hub.remove(c)
	if err := s.session.Disconnected(context.Background(), c.info.Address()); err != nil {
		c.log.Warn("the subscriptions of a connection could not be removed", "error", err)
	}
	c.log.Debug("disconnected")
}

// authenticateInBand is the session's Authenticate.
func (s *Server) authenticateInBand(ctx context.Context, token string) (session.Identity, *wire.Error) {
	id, err := s.authenticate(ctx, token)
	if err != nil {
		code, text, _ := authRefusal(err)
		return session.Identity{}, &wire.Error{Code: code, Message: text}
	}
	return session.Identity(id), nil
}
