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

// connect opens a connection and reports how that went.
func (c *Client) connect(gen int) {
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.ConnectTimeout)
	defer cancel()
	ws, token, until, failure := c.dial(ctx)
	if failure != nil && c.ctx.Err() == nil {
		c.opts.Logger.Info("streamer: could not connect", "code", failure.why.Code, "error", failure.why.Message)
	}
	now := c.enter()
	defer c.leave()
	if failure != nil {
		c.machine.DialFailed(now, gen, failure.why, failure.fatal)
		return
	}
	if c.closed { // nobody waits for its goroutines any more
		go func() { _ = ws.Close() }()
		return
	}
	c.ever = true
	c.token = token
	s := newSocket(c, gen, ws)
	c.sockets[gen] = s
	c.wg.Add(2)
	go s.read()
	go s.write()
	c.machine.Opened(now, gen, until)
}

// failure is why a connection could not be opened.
type failure struct {
	why *wire.ServerMessage
	// fatal tells that trying again cannot help.
	fatal bool
}

func fail(code, text string, fatal bool) *failure {
	m := wire.ErrorMessage(code, text, fatal)
	return &failure{&m, fatal}
}

// dial fetches a token and opens a connection with it. until is when the token
// expires, on our clock.
func (c *Client) dial(ctx context.Context) (ws *websocket.Conn, token string, until time.Duration, _ *failure) {
	header := c.opts.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	token, until, err := c.fetch(ctx)
	switch {
	case err != nil && fatal(err):
		var e *Error
		errors.As(err, &e)
		return nil, "", 0, fail(e.Code, e.Message, true)
	case err != nil:
		return nil, "", 0, fail(wire.CodeUnavailable, "the token could not be fetched: "+err.Error(), false)
	case token != "":
		header.Set("Authorization", "Bearer "+token)
	}
	ws, resp, err := c.dialer.DialContext(ctx, c.url, header)
	switch {
	case err == nil && ws.Subprotocol() != wire.Subprotocol:
		_ = ws.Close()
		return nil, "", 0, fail(wire.CodeNotStreamer, "the server did not pick the subprotocol "+wire.Subprotocol, true)
	case err == nil:
		return ws, token, until, nil
	case errors.Is(err, websocket.ErrBadHandshake) && resp != nil:
		c.mu.Lock()
		ever := c.ever
		c.mu.Unlock()
		return nil, "", 0, refusalOf(resp, ever)
	}
	return nil, "", 0, fail(wire.CodeUnavailable, "no connection: "+err.Error(), false)
}

// refusalOf reads the answer of a server that did not want us. ever tells that
// the URL has served before: then what looks like a wrong one may pass.
func refusalOf(resp *http.Response, ever bool) *failure {
	var body struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10)); err == nil {
		_ = json.Unmarshal(text, &body) // not ours: then the status tells
	}
	text := body.Message
	if text == "" {
		text = fmt.Sprintf("the server answered %d to the connect", resp.StatusCode)
	}
	info, known := wire.Codes[body.Code]
	var f *failure
	switch status := resp.StatusCode; {
	case known:
		f = fail(body.Code, text, info.Fatal)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		f = fail(wire.CodeUnauthorized, text, true)
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly, ever:
		f = fail(wire.CodeUnavailable, text, false)
	default:
		f = fail(wire.CodeNotStreamer, text, true)
	}
	f.why.RetryAfterMs = retryAfter(resp.Header.Get("Retry-After")).Milliseconds()
	return f
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(text string) time.Duration {
	const most = 10 * time.Minute
	if seconds, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
		return min(max(0, time.Duration(min(seconds, 3600))*time.Second), most)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, time.Until(at)), most)
	}
	return 0
}

// fetch calls the Token function, and tells when the token expires.
func (c *Client) fetch(ctx context.Context) (token string, until time.Duration, err error) {
	if c.opts.Token == nil {
		return "", never, nil
	}
	if token, err = c.opts.Token(ctx); err != nil {
		return "", never, err
	}
	until = never
	if at, ok := expiry(token); ok {
		until = time.Since(c.born) + time.Until(at)
	}
	return token, until, nil
}

// refresh fetches a token for the connection in use.
func (c *Client) refresh() {
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.ConnectTimeout)
	defer cancel()
	token, until, err := c.fetch(ctx)
	if err != nil {
		c.opts.Logger.Warn("streamer: a fresh token could not be fetched", "error", err)
	}
	now := c.enter()
	defer c.leave()
	same := token == c.token
	if err == nil {
		c.token = token
	}
	c.machine.TokenFetched(now, token, until, same, err != nil || token == "")
}

// expiry reads when a JWT expires, without verifying anything.
func expiry(token string) (at time.Time, ok bool) {
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
