package client

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/session"
	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

// quick makes everything that is waited for come soon.
var quick = session.Timing{BackoffBase: time.Millisecond, BackoffMax: 5 * time.Millisecond}

// phase waits until the client is in a phase.
func phase(t *testing.T, c *Client, want Phase) State {
	t.Helper()
	for s := range c.States(within(t)) {
		if s.Phase == want {
			return s
		}
	}
	require.FailNow(t, "the client never is "+want.String())
	return State{}
}

func TestConnectRefused(t *testing.T) {
	answer := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	for name, tc := range map[string]struct {
		status int
		body   string
		code   string
	}{
		"a bad token":      {401, `{"code":"unauthorized","message":"no"}`, CodeUnauthorized},
		"a bare 401":       {401, `Unauthorized`, CodeUnauthorized},
		"a gateway's 403":  {403, `{"message":"Forbidden"}`, CodeUnauthorized},
		"a refused origin": {403, `{"code":"origin_refused","message":"no"}`, CodeOriginRefused},
		"a wrong path":     {404, `not found`, CodeNotStreamer},
		"a web page":       {200, `<html>`, CodeNotStreamer},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.refuse = answer(tc.status, tc.body)
			_, err := Dial(within(t), h.server.URL, nil)
			require.ErrorIs(t, err, &Error{Code: tc.code})
			c := h.client(nil)
			s := phase(t, c, Closed) // for good: nobody tries again
			require.ErrorIs(t, s.Err, &Error{Code: tc.code})
			_, err = greet.With(params{}).Await(within(t), c)
			require.ErrorIs(t, err, &Error{Code: tc.code})
		})
	}
	t.Run("for now", func(t *testing.T) {
		h := newHost(t)
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
		c, p := h.open(&Options{Token: func(context.Context) (string, error) {
			return fmt.Sprint("token-", tokens.Add(1)), nil
		}})
		require.Equal(t, "token-4", p.bearer(), "the token is fetched anew for each connect")
		phase(t, c, Open)
	})
}

func TestDialFailsAtOnce(t *testing.T) {
	h := newHost(t)
	h.server.Close()
	_, err := Dial(within(t), h.server.URL, nil)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, CodeUnavailable, e.Code)
	require.True(t, e.Retryable)
}

func TestDialAndToken(t *testing.T) {
	h := newHost(t)
	c, err := Dial(within(t), h.server.URL, &Options{Header: http.Header{"X-Test": {"1"}}, Token: func(context.Context) (string, error) { return "t", nil }})
	require.NoError(t, err)
	p := h.accept()
	require.Equal(t, "t", p.bearer())
	require.Equal(t, "1", p.header.Get("X-Test"))
	require.NoError(t, c.Close(within(t)))
	require.Equal(t, wire.CloseNormal, p.closed())
	require.NoError(t, c.Close(within(t)), "twice")
	_, err = greet.With(params{}).Await(within(t), c)
	require.ErrorIs(t, err, ErrClosed)

	_, err = Dial(within(t), h.server.URL, &Options{Token: func(context.Context) (string, error) {
		return "", &Error{Code: CodeUnauthorized, Message: "signed out"}
	}})
	require.ErrorContains(t, err, "signed out")
	ctx, cancel := context.WithCancel(within(t))
	_, err = Dial(ctx, h.server.URL, &Options{Token: func(context.Context) (string, error) {
		cancel()
		return "t", nil
	}})
	require.Error(t, err)
}

func TestBadAddresses(t *testing.T) {
	for _, u := range []string{"", "ftp://x", "wss://", "wss://a:b@host/", "ws://[::1", "host:80"} {
		_, err := New(u, nil)
		require.Error(t, err, u)
	}
	_, err := New("ws://host", &Options{Header: http.Header{"Sec-Websocket-Protocol": {"x"}}})
	require.ErrorContains(t, err, "Sec-Websocket-Protocol")
}

func TestNotStreamer(t *testing.T) {
	h := newHost(t)
	h.upgrader.Subprotocols = nil
	_, err := Dial(within(t), h.server.URL, nil)
	require.ErrorIs(t, err, &Error{Code: CodeNotStreamer})
}

func TestResumeAfterACut(t *testing.T) {
	h := newHost(t)
	c, p := h.open(nil)
	call, err := report.With(params{}).Start(within(t), c)
	require.NoError(t, err)
	id := p.next(wire.TypeRequest).ID
	p.send(ackOf(id), chunkOf(id, 2, `{"n":1}`), chunkOf(id, 3, `{"n":2}`))
	var got []int
	for e, err := range call.Events(within(t)) {
		require.NoError(t, err)
		if e.Kind != KindChunk {
			break
		}
		got = append(got, e.Chunk.N)
		if e.Chunk.N == 2 {
			p.cut()
			p = h.accept()
			m := p.next(wire.TypeSubscribe)
			require.EqualValues(t, 3, m.After)
			require.EqualValues(t, 7, m.Epoch)
			p.send(chunkOf(id, 5, `{"n":4}`)) // it overtakes the page
			p.send(pageOf(m.Ref, id, 5, false, chunkOf(id, 3, `{"n":2}`), chunkOf(id, 4, `{"n":3}`), chunkOf(id, 5, `{"n":4}`)))
			p.send(chunkOf(id, 5, `{"n":4}`), resultMsg(id, 6, `"done"`), resultMsg(id, 6, `"done"`))
		}
	}
	require.Equal(t, []int{1, 2, 3, 4}, got)
	result, err := call.Result(within(t))
	require.NoError(t, err)
	require.Equal(t, "done", result)
}

func TestUnansweredIsSentAgain(t *testing.T) {
	h := newHost(t)
	c, p := h.open(nil)
	wait := later(t, func() (string, error) { return greet.With(params{}).Sync().Await(within(t), c) })
	m := p.next(wire.TypeRequest)
	for range 3 {
		p.cut()
		p = h.accept()
		require.Equal(t, m, p.next(wire.TypeRequest))
	}
	p.send(resultMsg(m.ID, 0, `"at last"`))
	got, err := wait()
	require.NoError(t, err)
	require.Equal(t, "at last", got)
}

func TestSubmitWhileDisconnected(t *testing.T) {
	h := newHost(t)
	var open atomic.Bool
	h.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
		if !open.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return !open.Load()
	}
	c := h.client(nil)
	phase(t, c, Reconnecting)
	ctx, cancel := context.WithCancel(within(t))
	wait := later(t, func() (string, error) { return greet.With(params{"never"}).Await(ctx, c) })
	call, err := greet.With(params{"cancelled"}).Start(within(t), c)
	require.NoError(t, err)
	require.NoError(t, call.Cancel(within(t)))
	_, err = call.Result(within(t))
	require.ErrorIs(t, err, &Error{Code: CodeCancelled})
	cancel()
	_, err = wait()
	var gone *DetachedError
	require.ErrorAs(t, err, &gone)
	require.False(t, gone.Sent)

	wait = later(t, func() (string, error) { return greet.With(params{"sent"}).Await(within(t), c) })
	open.Store(true)
	p := h.accept()
	m := p.next(wire.TypeRequest)
	require.JSONEq(t, `{"name":"sent"}`, string(m.Payload), "what was given up before it was sent is not sent")
	p.send(resultMsg(m.ID, 0, `"ok"`))
	_, err = wait()
	require.NoError(t, err)
}

func TestUnsentTimeout(t *testing.T) {
	h := newHost(t)
	h.server.Close()
	c := h.client(&Options{UnsentTimeout: 20 * time.Millisecond, timing: quick})
	_, err := greet.With(params{}).Await(within(t), c)
	require.ErrorIs(t, err, &Error{Code: CodeUnavailable})
}

func TestMakeBeforeBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHostInBubble(t)
		timing := quick
		timing.MaxAge, timing.MaxAgeSpread = 100*time.Millisecond, time.Nanosecond
		c, old := h.open(&Options{timing: timing})
		call, err := report.With(params{}).Start(within(t), c)
		require.NoError(t, err)
		id := old.next(wire.TypeRequest).ID
		old.send(ackOf(id))
		inline := later(t, func() (string, error) { return greet.With(params{}).Await(within(t), c) })
		m := old.next(wire.TypeRequest)
		p := h.accept() // the old one is alive: both are
		sub := p.next(wire.TypeSubscribe)
		require.EqualValues(t, 1, sub.After)
		old.send(chunkOf(id, 2, `{"n":1}`)) // the old one still serves
		p.send(pageOf(sub.Ref, id, 2, false, chunkOf(id, 2, `{"n":1}`)))
		p.send(chunkOf(id, 3, `{"n":2}`))
		old.send(chunkOf(id, 3, `{"n":2}`), resultMsg(m.ID, 0, `"from the old one"`))
		got, err := inline()
		require.NoError(t, err)
		require.Equal(t, "from the old one", got)
		require.Equal(t, wire.CloseNormal, old.closed(), "closed once nothing is left on it")
		require.Equal(t, Open, c.State().Phase)
		p.send(resultMsg(id, 4, `"done"`))
		var rows []int
		for e, err := range call.Events(within(t)) {
			require.NoError(t, err)
			if e.Kind == KindChunk {
				rows = append(rows, e.Chunk.N)
			}
		}
		require.Equal(t, []int{1, 2}, rows)
	})
}

func TestClosing(t *testing.T) {
	h := newHost(t)
	c, old := h.open(nil)
	again, never := true, false
	old.send(wire.ServerMessage{Type: wire.TypeClosing, Reason: "shutdown", Reconnect: &again, AfterMs: 20})
	p := h.accept()
	wait := later(t, func() (string, error) { return greet.With(params{}).Await(within(t), c) })
	m := p.next(wire.TypeRequest)
	p.send(resultMsg(m.ID, 0, `"x"`))
	_, err := wait()
	require.NoError(t, err)
	old.closed()

	p.send(wire.ServerMessage{Type: wire.TypeClosing, Reason: "overloaded", Reconnect: &never})
	p.hangUp(wire.CloseTryLater)
	require.ErrorIs(t, phase(t, c, Closed).Err, &Error{Code: CodeUnavailable})

	c, p = h.open(nil)
	phase(t, c, Open)
	p.hangUp(wire.CloseRestart)
	p = h.accept()
	p.hangUp(wire.CloseUnsupportedData) // a code that says: do not come back
	phase(t, c, Closed)
}

func TestDeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHostInBubble(t)
		timing := quick
		timing.Ping, timing.PingWait = 20*time.Millisecond, 30*time.Millisecond
		_, p := h.open(&Options{timing: timing})
		for range 3 {
			p.next(wire.TypePing)
			p.send(wire.ServerMessage{Type: wire.TypePong})
		}
		p.next(wire.TypePing) // not answered
		h.accept()
		p.closed()
	})
}

// jwt is a token that expires at a time.
func jwt(name string, at time.Time) string {
	claims := fmt.Sprintf(`{"sub":%q,"exp":%d.5}`, name, at.Unix())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
}

func TestTokenIsRefreshedInBand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHostInBubble(t)
		var n atomic.Int32
		fresh := jwt("fresh", time.Now().Add(time.Hour))
		timing := quick
		timing.Refresh = time.Hour
		c, p := h.open(&Options{timing: timing, Token: func(context.Context) (string, error) {
			if n.Add(1) == 1 {
				return jwt("old", time.Now().Add(2*time.Second)), nil
			}
			return fresh, nil
		}})
		m := p.next(wire.TypeAuth) // before it expires
		require.Equal(t, fresh, m.Token)
		p.send(okOf(m.Ref))
		wait := later(t, func() (string, error) { return greet.With(params{}).Await(within(t), c) })
		q := p.next(wire.TypeRequest)
		p.send(resultMsg(q.ID, 0, `"x"`))
		_, err := wait()
		require.NoError(t, err)
	})
}

func TestTokenExpired(t *testing.T) {
	h := newHost(t)
	var n atomic.Int32
	c, p := h.open(&Options{timing: quick, Token: func(context.Context) (string, error) { return fmt.Sprint("t", n.Add(1)), nil }})
	wait := later(t, func() (string, error) { return greet.With(params{}).Await(within(t), c) })
	q := p.next(wire.TypeRequest)
	p.send(errorMsg(q.ID, "", CodeTokenExpired, false))
	m := p.next(wire.TypeAuth)
	require.Equal(t, "t2", m.Token)
	p.send(okOf(m.Ref))
	require.Equal(t, q, p.next(wire.TypeRequest))
	p.send(errorMsg(q.ID, "", CodeTokenExpired, false))
	m = p.next(wire.TypeAuth)
	p.send(errorMsg("", m.Ref, CodeReconnectRequired, false)) // another subject
	p2 := h.accept()
	require.Equal(t, "t4", p2.bearer())
	require.Equal(t, q, p2.next(wire.TypeRequest))
	p2.send(resultMsg(q.ID, 0, `"x"`))
	_, err := wait()
	require.NoError(t, err)
}

func TestNoTokenToRefresh(t *testing.T) {
	h := newHost(t)
	c, p := h.open(nil)
	wait := later(t, func() (string, error) { return greet.With(params{}).Await(within(t), c) })
	p.send(errorMsg(p.next(wire.TypeRequest).ID, "", CodeTokenExpired, true))
	_, err := wait()
	require.ErrorIs(t, err, &Error{Code: CodeTokenExpired})
}

func TestForeignFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHostInBubble(t)
		timing := quick
		timing.Foreign = 10 * time.Millisecond
		c, p := h.open(&Options{timing: timing})
		sync := later(t, func() (string, error) { return greet.With(params{"sync"}).Sync().Await(within(t), c) })
		s := p.next(wire.TypeRequest)
		auto := later(t, func() (string, error) { return greet.With(params{"auto"}).Await(within(t), c) })
		a := p.next(wire.TypeRequest)
		for _, frame := range []string{`{"message":"Internal server error","connectionId":"x","requestId":"y"}`, `not JSON`, `[5]`} {
			p.raw([]byte(frame))
			require.Equal(t, a, p.next(wire.TypeRequest), "mode auto is sent again, mode sync is not")
		}
		p.send(resultMsg(s.ID, 0, `"s"`), resultMsg(a.ID, 0, `"a"`))
		_, err := sync()
		require.NoError(t, err)
		_, err = auto()
		require.NoError(t, err)
	})
}

func TestCallbacksMayBlockAndUseTheClient(t *testing.T) {
	h := newHost(t)
	c, p := h.open(nil)
	release := make(chan struct{})
	var once sync.Once
	slow := later(t, func() (string, error) {
		return greet.With(params{"slow"}).OnProgress(func(Progress) {
			once.Do(func() {
				if _, err := greet.With(params{"nested"}).Await(within(t), c); err != nil {
					t.Error(err)
				}
			})
			<-release
		}).Await(within(t), c)
	})
	a := p.next(wire.TypeRequest)
	p.send(progressMsg(a.ID, 1, 1, 1))
	nested := p.next(wire.TypeRequest)
	p.send(resultMsg(nested.ID, 0, `""`))
	p.send(progressMsg(a.ID, 1, 2, 2), resultMsg(a.ID, 0, `"slow"`))
	for range 20 { // others are served meanwhile
		quick := later(t, func() (string, error) { return greet.With(params{}).Await(within(t), c) })
		p.send(resultMsg(p.next(wire.TypeRequest).ID, 0, `"quick"`))
		_, err := quick()
		require.NoError(t, err)
	}
	close(release)
	_, err := slow()
	require.NoError(t, err)
}

// nosy is a log handler that asks the client how it is.
type nosy struct {
	slog.Handler
	c     *atomic.Pointer[Client]
	lines *atomic.Int32
}

func (n nosy) Handle(_ context.Context, r slog.Record) error {
	if c := n.c.Load(); c != nil {
		_ = c.State()
	}
	n.lines.Add(1)
	return nil
}

func TestALoggerMayUseTheClient(t *testing.T) {
	h := newHost(t)
	var held atomic.Pointer[Client]
	var lines atomic.Int32
	c, p := h.open(&Options{timing: quick, Logger: slog.New(nosy{slog.NewTextHandler(io.Discard, nil), &held, &lines})})
	held.Store(c)
	p.raw([]byte(`{"message":"foreign"}`))
	p.raw([]byte(`not JSON`))
	p.hangUp(wire.CloseRestart)
	h.accept()
	phase(t, c, Open)
	require.EqualValues(t, 3, lines.Load())
}

func TestCloseEndsWaiting(t *testing.T) {
	h := newHost(t)
	var c *Client
	closed := make(chan error, 1)
	ready := make(chan struct{})
	c, p := h.open(&Options{timing: quick, OnState: func(s State) {
		if s.Phase == Open {
			<-ready
			closed <- c.Close(context.Background()) // from within a callback
		}
	}})
	call, err := report.With(params{}).Start(within(t), c)
	require.NoError(t, err)
	id := p.next(wire.TypeRequest).ID
	p.send(ackOf(id))
	require.NoError(t, call.Accepted(within(t)))
	close(ready)
	_, err = call.Result(within(t))
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, <-closed)
	require.Equal(t, State{Closed, ErrClosed}.Phase, c.State().Phase)
	require.ErrorIs(t, c.State().Err, ErrClosed)
	require.Equal(t, wire.CloseNormal, p.closed())
	var e *Error
	require.True(t, errors.As(call.Cancel(within(t)), &e) && e.Code == "closed")
}
