package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// connect opens a connection and reports the outcome to the machine.
func (c *Client) connect(gen int) {
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.ConnectTimeout)
	defer cancel()
	ws, token, tokenExpiry, failure := c.dialServer(ctx)
	if failure != nil && c.ctx.Err() == nil {
		c.opts.Logger.Info("streamer: could not connect", "code", failure.Code, "error", failure.Message)
	}
	now := c.lockMachine()
	defer c.unlockMachine()
	if failure != nil {
		c.machine.DialFailed(now, gen, failure)
		return
	}
	if c.closed { // Close does not wait for new goroutines
		go func() { _ = ws.Close() }()
		return
	}
	c.everConnected.Store(true)
	c.token = token
	s := newSocket(c, gen, ws)
	c.sockets[gen] = s
	c.wg.Add(2)
	go s.readLoop()
	go s.writeLoop()
	c.machine.Opened(now, gen, tokenExpiry)
}

// newDialError says why a connection could not be opened. fatal means that
// trying again cannot help.
func newDialError(code, text string, fatal bool) *wire.ServerMessage {
	return new(wire.ErrorMessage(code, text, fatal))
}

// dialServer fetches a token and opens a connection with it. tokenExpiry is
// when the token expires, on the client's clock.
func (c *Client) dialServer(ctx context.Context) (
	ws *websocket.Conn, token string, tokenExpiry time.Duration, failure *wire.ServerMessage,
) {
	header := c.opts.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	token, tokenExpiry, refused := c.fetchToken(ctx)
	if refused != nil {
		return nil, "", 0, newDialError(refused.Code, refused.Message, wire.Codes[refused.Code].Fatal)
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	ws, resp, err := c.openSocket(ctx, header)
	switch {
	case err == nil && ws.Subprotocol() != wire.Subprotocol:
		_ = ws.Close()
		return nil, "", 0, newDialError(wire.CodeNotStreamer, "the server did not choose the subprotocol "+wire.Subprotocol, true)
	case err == nil:
		return ws, token, tokenExpiry, nil
	case errors.Is(err, websocket.ErrBadHandshake) && resp != nil:
		return nil, "", 0, handshakeError(resp, c.everConnected.Load())
	}
	return nil, "", 0, newDialError(wire.CodeUnavailable, "no connection: "+err.Error(), false)
}

// openSocket opens a connection. The functions in the options may panic.
func (c *Client) openSocket(ctx context.Context, header http.Header) (ws *websocket.Conn, resp *http.Response, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("a function of the options panicked: %v", v)
		}
	}()
	return c.dialer.DialContext(ctx, c.url, header)
}

// handshakeError converts the HTTP response of a server that refused the
// handshake. everConnected says that this URL has worked before: then a status
// that otherwise means a wrong URL is taken to be temporary.
func handshakeError(resp *http.Response, everConnected bool) *wire.ServerMessage {
	var body struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10)); err == nil {
		_ = json.Unmarshal(text, &body) // if it is not Streamer's error, the status decides
	}
	text := body.Message
	if location := resp.Header.Get("Location"); text == "" && location != "" {
		text = fmt.Sprintf("the server redirects to %.200q, which a WebSocket does not follow; connect to that URL", location)
	}
	if text == "" {
		text = fmt.Sprintf("the server answered the handshake with status %d", resp.StatusCode)
	}
	info, known := wire.Codes[body.Code]
	var failure *wire.ServerMessage
	switch status := resp.StatusCode; {
	case known:
		failure = newDialError(body.Code, text, info.Fatal)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		failure = newDialError(wire.CodeUnauthorized, text, true)
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly, everConnected:
		failure = newDialError(wire.CodeUnavailable, text, false)
	default:
		failure = newDialError(wire.CodeNotStreamer, text, true)
	}
	failure.RetryAfterMs = retryAfter(resp.Header.Get("Retry-After")).Milliseconds()
	return failure
}

// retryAfter parses a Retry-After header: seconds, or a date.
func retryAfter(text string) time.Duration {
	const maxWait = 10 * time.Minute
	if seconds, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
		return min(max(0, time.Duration(min(seconds, 3600))*time.Second), maxWait)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, time.Until(at)), maxWait)
	}
	return 0
}

// fetchToken calls the Token function, and reads when the token expires. The
// function, and the methods of its error, may panic.
func (c *Client) fetchToken(ctx context.Context) (token string, expiry time.Duration, failure *Error) {
	expiry = noDeadline
	if c.opts.Token == nil {
		return "", expiry, nil
	}
	defer func() {
		if v := recover(); v != nil {
			token, failure = "", &Error{Code: CodeUnavailable, Message: fmt.Sprintf("the token could not be fetched: panic: %v", v)}
		}
	}()
	token, err := c.opts.Token(ctx)
	if err != nil {
		if own, ok := errors.AsType[*Error](err); ok && own != nil && wire.Codes[own.Code].Fatal {
			return "", expiry, own
		}
		return "", expiry, &Error{Code: CodeUnavailable, Message: "the token could not be fetched: " + err.Error()}
	}
	if at, ok := jwtExpiry(token); ok {
		expiry = time.Since(c.startedAt) + time.Until(at)
	}
	return token, expiry, nil
}

// refreshToken fetches a token for the connection in use.
func (c *Client) refreshToken() {
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.ConnectTimeout)
	defer cancel()
	token, tokenExpiry, failure := c.fetchToken(ctx)
	if failure != nil {
		c.opts.Logger.Warn("streamer: a fresh token could not be fetched", "error", failure.Message)
	}
	now := c.lockMachine()
	defer c.unlockMachine()
	unchanged := token == c.token
	if failure == nil {
		c.token = token
	}
	c.machine.TokenFetched(now, token, tokenExpiry, unchanged, failure != nil || token == "")
}

// jwtExpiry reads when a JWT expires, without verifying it.
func jwtExpiry(token string) (at time.Time, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return at, false
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return at, false
	}
	var claims struct {
		Expiry float64 `json:"exp"`
	}
	if json.Unmarshal(text, &claims) != nil || claims.Expiry <= 0 || claims.Expiry > 1<<40 {
		return at, false
	}
	return time.UnixMilli(int64(claims.Expiry * 1000)), true
}
