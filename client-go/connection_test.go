package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/session"
	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// waitForPhase waits until the client is in a phase.
func waitForPhase(t *testing.T, c *Client, want Phase) State {
	t.Helper()
	for s := range c.States(testContext(t)) {
		if s.Phase == want {
			return s
		}
	}
	require.FailNow(t, "the client is never "+want.String())
	return State{}
}

// answer answers the handshake with HTTP.
func answer(status int, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

func TestConnectRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		status     int
		body, code string
	}{
		"a bad token":      {401, `{"code":"unauthorized","message":"no"}`, CodeUnauthorized},
		"a bare 401":       {401, `Unauthorized`, CodeUnauthorized},
		"a gateway's 403":  {403, `{"message":"Forbidden"}`, CodeUnauthorized},
		"a refused origin": {403, `{"code":"origin_refused","message":"no"}`, CodeOriginRefused},
		"a wrong path":     {404, `not found`, CodeNotStreamer},
		"a web page":       {200, `<html>`, CodeNotStreamer},
	} {
		t.Run(name, func(t *testing.T) {
			h := newServer(t)
			h.refuse = answer(tc.status, tc.body)
			_, err := Dial(testContext(t), h.server.URL, nil)
			require.ErrorIs(t, err, &Error{Code: tc.code})
			c := h.newClient(nil)
			s := waitForPhase(t, c, Closed) // the client does not try again
			require.ErrorIs(t, s.Err, &Error{Code: tc.code})
			_, err = greet.With(params{}).Await(testContext(t), c)
			require.ErrorIs(t, err, &Error{Code: tc.code})
		})
	}
	t.Run("for now", func(t *testing.T) {
		h := newServer(t)
		var tries atomic.Int32
		h.refuse = func(w http.ResponseWriter, r *http.Request) bool {
			switch tries.Add(1) {
			case 1:
				w.Header().Set("Retry-After", "0")
				return answer(503, `{"code":"unavailable","message":"full"}`)(w, r)
			case 2:
				return answer(401, `{"code":"token_expired","message":"old"}`)(w, r)
			case 3:
				return answer(502, `bad gateway`)(w, r)
			}
			return false
		}
		var tokens atomic.Int32
		c, p := h.connect(&Options{Token: func(context.Context) (string, error) {
			return fmt.Sprint("token-", tokens.Add(1)), nil
		}})
		require.Equal(t, "token-4", p.bearerToken(), "a token is fetched for each connect")
		waitForPhase(t, c, Open)
	})
}

func TestDialFailsWithoutServer(t *testing.T) {
	h := newServer(t)
	h.server.Close()
	_, err := Dial(testContext(t), h.server.URL, nil)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, CodeUnavailable, e.Code)
	require.True(t, e.Retryable)
}

func TestDialAndToken(t *testing.T) {
	h := newServer(t)
	c, err := Dial(testContext(t), h.server.URL, &Options{Header: http.Header{"X-Test": {"1"}}, Token: func(context.Context) (string, error) { return "t", nil }})
	require.NoError(t, err)
	p := h.acceptConn()
	require.Equal(t, "t", p.bearerToken())
	require.Equal(t, "1", p.header.Get("X-Test"))
	require.NoError(t, c.Close(testContext(t)))
	require.Equal(t, wire.CloseNormal, p.waitClosed())
	require.NoError(t, c.Close(testContext(t)), "twice")
	_, err = greet.With(params{}).Await(testContext(t), c)
	require.ErrorIs(t, err, ErrClosed)

	_, err = Dial(testContext(t), h.server.URL, &Options{Token: func(context.Context) (string, error) {
		return "", &Error{Code: CodeUnauthorized, Message: "signed out"}
	}})
	require.ErrorContains(t, err, "signed out")
	ctx, cancel := context.WithCancel(testContext(t))
	_, err = Dial(ctx, h.server.URL, &Options{Token: func(context.Context) (string, error) {
		cancel()
		return "t", nil
	}})
	require.Error(t, err)
}

type panickingError struct{}

func (panickingError) Error() string { panic("in Error") }

// What the functions of the options return, and their panics, end nothing.
func TestFunctionsOfTheOptionsPanic(t *testing.T) {
	h := newServer(t)
	token := func(do func() error) *Options {
		return &Options{Token: func(context.Context) (string, error) { return "t", do() }}
	}
	for name, o := range map[string]*Options{
		"Token":            token(func() error { panic("in Token") }),
		"a nil *Error":     token(func() error { return (*Error)(nil) }),
		"a nil one inside": token(func() error { return fmt.Errorf("no token: %w", (*Error)(nil)) }),
		"its error":        token(func() error { return panickingError{} }),
		"DialContext":      {DialContext: func(context.Context, string, string) (net.Conn, error) { panic("in DialContext") }},
	} {
		_, err := Dial(testContext(t), h.server.URL, o)
		var e *Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, CodeUnavailable, e.Code, name)
	}
	c, _ := h.connect(&Options{OnState: func(State) { panic("in OnState") }})
	waitForPhase(t, c, Open)
}

// A redirect is not followed, but named.
func TestRedirect(t *testing.T) {
	h := newServer(t)
	h.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "https://new.example/ws", http.StatusMovedPermanently)
		return true
	}
	_, err := Dial(testContext(t), h.server.URL, nil)
	require.ErrorIs(t, err, &Error{Code: CodeNotStreamer})
	require.ErrorContains(t, err, "https://new.example/ws")
}

// An http.Transport adds HTTP/2 to a TLS configuration that it shares.
func TestTLSWithHTTP2(t *testing.T) {
	h := newServer(t)
	web := httptest.NewUnstartedServer(h.server.Config.Handler)
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate())
	shared := &tls.Config{RootCAs: pool, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}
	c, err := Dial(testContext(t), web.URL, &Options{TLS: shared})
	require.NoError(t, err)
	h.acceptConn()
	require.NoError(t, c.Close(testContext(t)))
	require.Len(t, shared.NextProtos, 2, "it is copied")
	_, err = New(web.URL, &Options{TLS: &tls.Config{NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}})
	require.ErrorContains(t, err, `must be empty or contain "http/1.1"`)
}

func TestInvalidURLs(t *testing.T) {
	for _, u := range []string{"", "ftp://x", "wss://", "wss://a:b@host/", "ws://[::1", "host:80"} {
		_, err := New(u, nil)
		require.Error(t, err, u)
	}
	_, err := New("ws://host", &Options{Header: http.Header{"Sec-Websocket-Protocol": {"x"}}})
	require.ErrorContains(t, err, "Sec-Websocket-Protocol")
}

func TestNotStreamer(t *testing.T) {
	h := newServer(t)
	h.upgrader.Subprotocols = nil
	_, err := Dial(testContext(t), h.server.URL, nil)
	require.ErrorIs(t, err, &Error{Code: CodeNotStreamer})
}

func TestResumeAfterConnectionLoss(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(nil)
	call, id := startReport(t, c, p)
	p.send(ackMsg(id), chunkMsg(id, 2, `{"n":1}`), chunkMsg(id, 3, `{"n":2}`))
	var got []int
	for e, err := range call.Events(testContext(t)) {
		require.NoError(t, err)
		if e.Kind != KindChunk {
			break
		}
		got = append(got, e.Chunk.N)
		if e.Chunk.N == 2 {
			p.breakConn()
			p = h.acceptConn()
			m := p.expect(wire.TypeSubscribe)
			require.EqualValues(t, 3, m.After)
			require.EqualValues(t, 7, m.Epoch)
			p.send(chunkMsg(id, 5, `{"n":4}`)) // it comes before the page
			p.send(snapshotMsg(m.Ref, id, 5, false, chunkMsg(id, 3, `{"n":2}`), chunkMsg(id, 4, `{"n":3}`), chunkMsg(id, 5, `{"n":4}`)))
			p.send(chunkMsg(id, 5, `{"n":4}`), resultMsg(id, 6, `"done"`), resultMsg(id, 6, `"done"`))
		}
	}
	require.Equal(t, []int{1, 2, 3, 4}, got)
	requireResult(t, call, "done")
}

func TestSubmitWhileDisconnected(t *testing.T) {
	h := newServer(t)
	var open atomic.Bool
	h.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		return !open.Load() && answer(503, "")(w, r)
	}
	c := h.newClient(nil)
	waitForPhase(t, c, Reconnecting)
	ctx, cancel := context.WithCancel(testContext(t))
	unsent := inBackground(t, func() (string, error) { return greet.With(params{"never"}).Await(ctx, c) })
	call, err := greet.With(params{"cancelled"}).Start(testContext(t), c)
	require.NoError(t, err)
	require.NoError(t, call.Cancel(testContext(t)))
	_, err = call.Result(testContext(t))
	require.ErrorIs(t, err, &Error{Code: CodeCancelled})
	cancel()
	_, err = unsent.wait()
	var detached *DetachedError
	require.ErrorAs(t, err, &detached)
	require.False(t, detached.Sent)

	sent := greetInBackground(t, c, "sent")
	open.Store(true)
	p := h.acceptConn()
	m := p.expect(wire.TypeRequest)
	require.JSONEq(t, `{"name":"sent"}`, string(m.Payload), "a request that was cancelled or detached before is not sent")
	p.send(resultMsg(m.ID, 0, `"ok"`))
	sent.requireResult("ok")
}

func TestUnsentTimeout(t *testing.T) {
	h := newServer(t)
	h.server.Close()
	c := h.newClient(&Options{UnsentTimeout: 20 * time.Millisecond})
	_, err := greet.With(params{}).Await(testContext(t), c)
	require.ErrorIs(t, err, &Error{Code: CodeUnavailable})
}

func TestClosing(t *testing.T) {
	h := newServer(t)
	c, old := h.connect(nil)
	old.send(wire.ServerMessage{Type: wire.TypeClosing, Reason: "shutdown", Reconnect: new(true), AfterMs: 20})
	p := h.acceptConn()
	greeting := greetInBackground(t, c, "")
	p.send(resultMsg(p.expect(wire.TypeRequest).ID, 0, `"x"`))
	greeting.requireResult("x")
	old.waitClosed()

	p.closeWith(wire.CloseRestart)
	p = h.acceptConn()
	p.closeWith(wire.CloseUnsupportedData) // a code after which a client must not reconnect
	require.ErrorIs(t, waitForPhase(t, c, Closed).Err, &Error{Code: CodeUnavailable})
}

// newJWT returns a token that expires at a time.
func newJWT(name string, at time.Time) string {
	claims := fmt.Sprintf(`{"sub":%q,"exp":%d.5}`, name, at.Unix())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
}

func TestTokenIsRefreshedInBand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newServerInBubble(t)
		var n atomic.Int32
		fresh := newJWT("fresh", time.Now().Add(time.Hour))
		c, p := h.connect(&Options{timing: session.Timing{Refresh: time.Hour}, Token: func(context.Context) (string, error) {
			if n.Add(1) == 1 {
				return newJWT("old", time.Now().Add(2*time.Second)), nil
			}
			return fresh, nil
		}})
		m := p.expect(wire.TypeAuth) // before it expires
		require.Equal(t, fresh, m.Token)
		p.send(okMsg(m.Ref))
		greeting := greetInBackground(t, c, "")
		p.send(resultMsg(p.expect(wire.TypeRequest).ID, 0, `"x"`))
		greeting.requireResult("x")
	})
}

func TestTokenExpired(t *testing.T) {
	h := newServer(t)
	var n atomic.Int32
	c, p := h.connect(&Options{Token: func(context.Context) (string, error) { return fmt.Sprint("t", n.Add(1)), nil }})
	greeting := greetInBackground(t, c, "")
	q := p.expect(wire.TypeRequest)
	p.send(errorMsg(q.ID, "", CodeTokenExpired, false))
	m := p.expect(wire.TypeAuth)
	require.Equal(t, "t2", m.Token)
	p.send(okMsg(m.Ref))
	require.Equal(t, q, p.expect(wire.TypeRequest))
	p.send(errorMsg(q.ID, "", CodeTokenExpired, false))
	m = p.expect(wire.TypeAuth)
	p.send(errorMsg("", m.Ref, CodeReconnectRequired, false)) // another subject
	p2 := h.acceptConn()
	require.Equal(t, "t4", p2.bearerToken())
	require.Equal(t, q, p2.expect(wire.TypeRequest))
	p2.send(resultMsg(q.ID, 0, `"x"`))
	greeting.requireResult("x")
}

func TestTokenExpiredWithoutRefresh(t *testing.T) {
	c, p := connect(t, nil)
	greeting := greetInBackground(t, c, "")
	p.send(errorMsg(p.expect(wire.TypeRequest).ID, "", CodeTokenExpired, true))
	_, err := greeting.wait()
	require.ErrorIs(t, err, &Error{Code: CodeTokenExpired})
}

func TestForeignFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newServerInBubble(t)
		c, p := h.connect(&Options{timing: session.Timing{Foreign: 10 * time.Millisecond}})
		sync := inBackground(t, func() (string, error) { return greet.With(params{"sync"}).Sync().Await(testContext(t), c) })
		s := p.expect(wire.TypeRequest)
		auto := greetInBackground(t, c, "auto")
		a := p.expect(wire.TypeRequest)
		for _, frame := range []string{`{"message":"Internal server error","connectionId":"x","requestId":"y"}`, `not JSON`, `[5]`} {
			p.sendRaw([]byte(frame))
			require.Equal(t, a, p.expect(wire.TypeRequest), "mode auto is sent again, mode sync is not")
		}
		p.send(resultMsg(s.ID, 0, `"s"`), resultMsg(a.ID, 0, `"a"`))
		sync.requireResult("s")
		auto.requireResult("a")
	})
}

func TestCallbacksMayBlockAndUseClient(t *testing.T) {
	c, p := connect(t, nil)
	release := make(chan struct{})
	var once sync.Once
	slow := inBackground(t, func() (string, error) {
		return greet.With(params{"slow"}).OnProgress(func(Progress) {
			once.Do(func() {
				_, err := greet.With(params{"nested"}).Await(testContext(t), c)
				assert.NoError(t, err)
			})
			<-release
		}).Await(testContext(t), c)
	})
	a := p.expect(wire.TypeRequest)
	p.send(progressMsg(a.ID, 1, 1, 1))
	nested := p.expect(wire.TypeRequest)
	p.send(resultMsg(nested.ID, 0, `""`))
	p.send(progressMsg(a.ID, 1, 2, 2), resultMsg(a.ID, 0, `"slow"`))
	for range 20 { // other calls are answered meanwhile
		quick := greetInBackground(t, c, "")
		p.send(resultMsg(p.expect(wire.TypeRequest).ID, 0, `"quick"`))
		quick.requireResult("quick")
	}
	close(release)
	slow.requireResult("slow")
}

// onWrite is a writer that calls a function.
type onWrite func()

func (f onWrite) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

func TestLoggerMayUseClient(t *testing.T) {
	h := newServer(t)
	var held atomic.Pointer[Client]
	var lines atomic.Int32
	c, p := h.connect(&Options{Logger: slog.New(slog.NewTextHandler(onWrite(func() {
		if c := held.Load(); c != nil {
			_ = c.State()
		}
		lines.Add(1)
	}), nil))})
	held.Store(c)
	p.sendRaw([]byte(`{"message":"foreign"}`))
	p.sendRaw([]byte(`not JSON`))
	p.closeWith(wire.CloseRestart)
	h.acceptConn()
	waitForPhase(t, c, Open)
	require.EqualValues(t, 3, lines.Load())
}

func TestCloseEndsWaiting(t *testing.T) {
	h := newServer(t)
	var c *Client
	closed := make(chan error, 1)
	ready := make(chan struct{})
	c, p := h.connect(&Options{OnState: func(s State) {
		if s.Phase == Open {
			<-ready
			closed <- c.Close(context.Background()) // from within a callback
		}
	}})
	call, id := startReport(t, c, p)
	p.send(ackMsg(id))
	require.NoError(t, call.Accepted(testContext(t)))
	close(ready)
	_, err := call.Result(testContext(t))
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, <-closed)
	require.Equal(t, Closed, c.State().Phase)
	require.ErrorIs(t, c.State().Err, ErrClosed)
	require.Equal(t, wire.CloseNormal, p.waitClosed())
	require.ErrorIs(t, call.Cancel(testContext(t)), ErrClosed)
}
