package conformance_test

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/conformance/sessions"
	"github.com/pay-theory/streamer/backend/store/memory"
)

// somewhere is an embedded server that is reached by its URL alone. Its tokens
// are what the server's own target mints.
func somewhere(t *testing.T) (*embedded, conformance.RemoteOptions) {
	t.Helper()
	queue := memory.New(nil)
	var address string
	e := newEmbedded(t, host{
		open: inMemory(queue),
		listen: func() (net.Listener, func(context.Context) (net.Conn, error), error) {
			l, dial, err := listenTCP()
			if err == nil {
				address = l.Addr().String()
			}
			return l, dial, err
		},
	}, &conformance.Transcript{})
	t.Cleanup(func() { _ = e.Close() })
	return e, conformance.RemoteOptions{
		URL:  "ws://" + address + "/",
		Mint: func(_ context.Context, who conformance.Identity) (string, error) { return e.Token(who) },
	}
}

// The transcripts, played one beside the other against one server that is
// somewhere, with nothing done to it but what clients do.
func TestRemote(t *testing.T) {
	_, options := somewhere(t)
	list, err := conformance.Load(sessions.Server())
	if err != nil {
		t.Fatal(err)
	}
	s := &conformance.Suite{Transcripts: list, Parallel: 16, Known: known(t, list), Play: func(ctx context.Context, tr *conformance.Transcript) error {
		return conformance.Run(ctx, tr, conformance.NewRemote(tr, &options), &conformance.Options{Prefix: tr.Name + "-"})
	}}
	v := s.Run(t.Context(), nil, func(e *conformance.Entry) {
		if e.Outcome == conformance.Failed {
			t.Error(e.Err)
		}
	})
	if v.Passed < 60 || v.Passed+v.NotPlayed+v.Known != len(list) {
		t.Errorf("%+v of %d", v, len(list))
	}
}

// known are the embedded server's known failures; where the module stands alone
// there is no list, and nothing is judged by it.
func known(t *testing.T, list []*conformance.Transcript) conformance.KnownFailures {
	t.Helper()
	conformance.NeedContract(t)
	return conformance.KnownOf(t, "embedded", list)
}

// A transcript that moves the clock is waited for, if it may.
func TestRemoteWaits(t *testing.T) {
	_, options := somewhere(t)
	tr, err := conformance.Parse("story", []byte(`{"tests": "server", "shows": "x", "covers": ["R-x"], "needs": ["clock"],
		"identities": {"alice": {"tenant": "acme", "subject": "alice"}}, "ids": {"call": 0},
		"steps": [{"connect": "alice"}, {"send": {"type": "request", "id": "$call", "action": "slow", "payload": {"ms": 30}}}, {"advanceMs": 50},
			{"expect": {"type": "result", "id": "$call", "...": true}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var lacking *conformance.Lacking
	options.Wait = 49 * time.Millisecond
	if err := conformance.Run(t.Context(), tr, conformance.NewRemote(tr, &options), nil); !errors.As(err, &lacking) {
		t.Errorf("played, or %v", err)
	}
	options.Wait = 50 * time.Millisecond
	if err := conformance.Run(t.Context(), tr, conformance.NewRemote(tr, &options), nil); err != nil {
		t.Error(err)
	}
}

func TestRemoteConnects(t *testing.T) {
	e, options := somewhere(t)
	r := conformance.NewRemote(&conformance.Transcript{}, &options)
	alice := conformance.Identity{Tenant: "acme", Subject: "alice"}
	for name, c := range map[string]struct {
		who  func(*conformance.Identity)
		code string
	}{
		"with a token": {func(*conformance.Identity) {}, ""},
		"as a browser": {func(w *conformance.Identity) { w.Via = conformance.ViaSubprotocol }, ""},
		"without":      {func(w *conformance.Identity) { w.Flaw = conformance.Missing }, "401 unauthorized"},
		"forged":       {func(w *conformance.Identity) { w.Flaw = conformance.Forged }, "401 unauthorized"},
		"expired":      {func(w *conformance.Identity) { w.ExpiresInMs = -60000 }, "401 token_expired"},
		"as another":   {func(w *conformance.Identity) { w.Offers = []string{"mqtt"} }, "400 not_streamer"},
	} {
		who := alice
		c.who(&who)
		conn, err := r.Connect(t.Context(), who)
		var refusal *conformance.Refusal
		switch {
		case c.code == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.code == "":
			conn.Cut()
		case !errors.As(err, &refusal) || !strings.HasSuffix(refusal.Error(), c.code):
			t.Errorf("%s: %v, expected %s", name, err, c.code)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Connect(t.Context(), alice); err == nil {
		t.Error("connected to nobody")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	options.Mint = nil
	if _, err := conformance.NewRemote(&conformance.Transcript{}, &options).Token(alice); err == nil {
		t.Error("a token was made of nothing")
	}
}

// A server that picks another subprotocol, or none, is none of ours.
func TestWhoPicksSomethingElse(t *testing.T) {
	l := conformance.NewListener()
	defer l.Close()
	url := serve(t, l)
	for _, pick := range []string{"", "streamer.v2"} {
		go func() {
			dial, err := l.Accept(t.Context())
			if err != nil {
				return
			}
			_, _ = dial.Accept(pick)
		}()
		who := conformance.Identity{Offers: []string{"streamer.v2", "streamer.v1"}}
		if _, err := conformance.DialAs(t.Context(), nil, url, &who, ""); err == nil || !strings.Contains(err.Error(), "picked the subprotocol") {
			t.Errorf("picked %q: %v", pick, err)
		}
	}
}

// A socket that is stalled takes nothing until it is resumed, and its peer
// finds that out.
func TestSocketStalls(t *testing.T) {
	l := conformance.NewListener()
	defer l.Close()
	url := serve(t, l)
	come := make(chan conformance.Conn, 1)
	go func() {
		dial, err := l.Accept(t.Context())
		if err != nil {
			return
		}
		if conn, err := dial.Accept("streamer.v1"); err == nil {
			come <- conn
		}
	}()
	ws, err := conformance.DialAs(t.Context(), nil, url, &conformance.Identity{}, "token")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.Close() }()
	conn := <-come
	socket := conn.(*conformance.Socket)
	socket.Stall()
	socket.Stall()
	if err := ws.WriteMessage(websocket.TextMessage, []byte("1")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if frame, err := socket.Recv(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stalled socket took %s, %v", frame, err)
	}
	socket.Resume()
	socket.Resume()
	if frame, err := socket.Recv(t.Context()); err != nil || string(frame) != "1" {
		t.Errorf("took %s, %v", frame, err)
	}
	socket.Stall()
	if err := ws.WriteMessage(websocket.TextMessage, []byte("2")); err != nil {
		t.Fatal(err)
	}
	socket.Cut() // and nothing of it is left behind
}

// serve serves a listener on this machine, and returns its URL.
func serve(t *testing.T, l *conformance.Listener) string {
	t.Helper()
	web := httptest.NewServer(l)
	t.Cleanup(web.Close)
	return "ws" + strings.TrimPrefix(web.URL, "http")
}
