package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/memnet"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// FuzzSession plays scripts against a whole server with real sockets, in a
// bubble of fake time: several users of two tenants send valid, invalid and
// mangled messages, alone and in batches, disconnect, come back, let tokens
// expire, and let time pass. What they get is held against a model, see
// session_model_test.go. A script is bytes, and all that happens follows from
// them.
func FuzzSession(f *testing.F) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 100+3*seed)
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if failure := playScript(t, script); failure != "" {
			t.Fatal(failure)
		}
	})
}

// The same with scripts that rapid makes, and makes shorter when one fails.
func TestSessionKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		for _, name := range []string{"first", "second"} {
			script := rapid.SliceOfN(rapid.Byte(), 0, 500).Draw(r, name)
			if failure := playScript(t, script); failure != "" {
				r.Fatal(failure)
			}
		}
	})
}

// playScript returns what the script found wrong, and all that happened before;
// empty: nothing is wrong.
func playScript(t *testing.T, script []byte) (failure string) {
	synctest.Test(t, func(t *testing.T) {
		w := newScripted(t, script)
		defer w.close()
		if w.play(); w.failure != "" {
			failure = w.failure + "\n" + strings.Join(w.journal, "\n")
		}
	})
	return failure
}

// verdict is the require.TestingT of a script's assertions. The first failure ends
// the script and not the test, so that rapid can make the script shorter.
type verdict struct{ failure string }

func (v *verdict) Errorf(format string, args ...any) { v.failure = fmt.Sprintf(format, args...) }

func (v *verdict) FailNow() { panic(v) }

// catch is deferred by what FailNow ends.
func (v *verdict) catch() {
	if p := recover(); p != nil && p != any(v) {
		panic(p)
	}
}

// maxSteps bounds a script.
const maxSteps = 80

// users are who speaks: a token each. The last one's expires.
var users = []string{"ann", "ann", "bob", "eve", "brief"}

// briefly is for how long a token "brief" is good.
const briefly = 20 * time.Second

var scriptedUsers = auth.Static{
	"ann":   {Tenant: "acme", Subject: "ann", Scopes: []string{"a"}},
	"bob":   {Tenant: "acme", Subject: "bob"},
	"eve":   {Tenant: "evil", Subject: "ann", Scopes: []string{"a"}},
	"other": {Tenant: "acme", Subject: "ann", Scopes: []string{"a", "b"}},
}

func authenticateScripted(ctx context.Context, token string) (auth.Identity, error) {
	switch token {
	case "brief":
		id := scriptedUsers["ann"]
		id.Expires = time.Now().Add(briefly)
		return id, nil
	case "stale":
		return auth.Identity{}, &auth.Error{Kind: auth.ErrExpired, Reason: "over"}
	}
	return scriptedUsers.Authenticate(ctx, token)
}

func scriptedRouter() *streamer.Router {
	r := streamer.NewRouter(nil)
	echo := func(_ context.Context, in string) (string, error) { return in, nil }
	streamer.Handle(r, "echo", echo)
	streamer.Handle(r, "later", echo, streamer.Async())
	streamer.Handle(r, "guarded", echo, streamer.RequireScope("a"))
	streamer.Handle(r, "boom", func(context.Context, string) (string, error) { panic("boom") })
	streamer.Handle(r, "hold", func(ctx context.Context, in string) (string, error) {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(20 * time.Second):
			return in, nil
		}
	})
	streamer.HandleStream(r, "stream", func(_ context.Context, in string, call *streamer.Call[string]) (string, error) {
		for i := range 3 {
			call.Progress(float64(30*i), in)
			call.Emit(in)
		}
		return in, nil
	})
	streamer.HandleStream(r, "flaky", func(ctx context.Context, in string, call *streamer.Call[string]) (string, error) {
		call.Emit(in)
		if streamer.Info(ctx).Attempt == 1 {
			return "", errors.New("once")
		}
		return in, nil
	}, streamer.Async(), streamer.Retry(1, streamer.Backoff{Base: time.Millisecond, Max: time.Millisecond}))
	return r
}

// dice decides by the script's bytes.
type dice struct{ script []byte }

// pick returns a number below n, 0 when the script is over.
func (d *dice) pick(n int) int {
	if len(d.script) == 0 {
		return 0
	}
	b := d.script[0]
	d.script = d.script[1:]
	return int(b) % n
}

// seldom is true once in n times.
func (d *dice) seldom(n int) bool { return d.pick(n) == n-1 }

func pickOf[T any](d *dice, of ...T) T { return of[d.pick(len(of))] }

// scripted is a server and the users that a script makes speak.
type scripted struct {
	verdict
	dice    dice
	server  *Server
	http    *http.Server
	network *memnet.Listener
	users   []*user
	begun   time.Time
	refs    int
	journal []string
}

// user is one connection.
type user struct {
	view // what the model knows of it
	ws   *websocket.Conn

	mu     sync.Mutex
	frames [][]byte
	code   int // it was closed with; -1: not yet
}

// received returns the frames that have come since the last call.
func (u *user) received() (frames [][]byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	frames, u.frames = u.frames, nil
	return frames
}

// closed returns the code that the connection was closed with; -1: it is open.
func (u *user) closed() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.code
}

// read notes what comes on a connection.
func (u *user) read(ws *websocket.Conn) {
	for {
		_, data, err := ws.ReadMessage()
		u.mu.Lock()
		if err == nil {
			u.frames = append(u.frames, data)
		} else if closing, ok := errors.AsType[*websocket.CloseError](err); ok {
			u.code = closing.Code
		} else {
			u.code = 0
		}
		u.mu.Unlock()
		if err != nil {
			_ = ws.Close()
			return
		}
	}
}

func newScripted(t *testing.T, script []byte) *scripted {
	s, err := New(scriptedRouter(), &Options{
		Auth: auth.AuthenticatorFunc(authenticateScripted), Queue: memory.New(nil), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	w := &scripted{
		dice: dice{script}, server: s, http: s.httpServer(s.mux), begun: time.Now(),
		network: memnet.NewListener(),
	}
	go func() { _ = w.http.Serve(w.network) }()
	m := newSessionModel(w.begun)
	for range users {
		w.users = append(w.users, &user{view: view{t: w, model: m}})
	}
	return w
}

// connect opens a user's connection anew.
func (w *scripted) connect(u *user, token string) {
	dialer := websocket.Dialer{NetDialContext: w.network.DialContext, Subprotocols: []string{wire.Subprotocol}}
	ws, response, err := dialer.Dial("ws://pipe/", http.Header{"Authorization": {"Bearer " + token}})
	require.NoError(w, err, "%s cannot connect", token)
	_ = response.Body.Close()
	id, _ := authenticateScripted(context.Background(), token) // no time has passed: it expires when the connection does
	u.connected(id)
	u.ws, u.code, u.frames = ws, -1, nil
	go u.read(ws)
}

func (w *scripted) close() {
	for _, u := range w.users {
		if u.ws != nil {
			_ = u.ws.Close()
		}
	}
	_ = w.server.Shutdown(canceled())
	_ = w.http.Close()
	synctest.Wait()
}

func (w *scripted) note(format string, args ...any) {
	w.journal = append(w.journal, fmt.Sprintf("%7s  ", time.Since(w.begun))+fmt.Sprintf(format, args...))
}

// play plays the script, and then asks after all that was stored.
func (w *scripted) play() {
	defer w.catch()
	for n, token := range users {
		w.connect(w.users[n], token)
	}
	for range maxSteps {
		if len(w.dice.script) == 0 {
			break
		}
		w.step()
	}
	w.awaitQuiet()
}

func (w *scripted) step() {
	n := w.dice.pick(len(w.users))
	u := w.users[n]
	switch what := w.dice.pick(16); what {
	case 0, 1:
		d := pickOf(&w.dice, time.Millisecond, 60*time.Millisecond, time.Second, 6*time.Second, 25*time.Second)
		w.note("%s passes", d)
		time.Sleep(d) // fake
		w.receive()
	case 2:
		w.note("user %d disconnects and comes back", n)
		_ = u.ws.Close()
		synctest.Wait()
		w.connect(u, users[n])
	case 3:
		frame := make([]byte, w.dice.pick(32))
		for i := range frame {
			frame[i] = byte(w.dice.pick(256))
		}
		w.send(n, frame)
	case 4:
		frame := []byte(w.message(u))
		for range 1 + w.dice.pick(3) {
			frame[w.dice.pick(256)%len(frame)] = byte(w.dice.pick(256))
		}
		w.send(n, frame)
	case 5, 6:
		var batch []string
		for range w.dice.pick(6) {
			batch = append(batch, w.message(u))
		}
		w.send(n, []byte("["+strings.Join(batch, ",")+"]"))
	default:
		w.send(n, []byte(w.message(u)))
	}
}

// send has a user send a frame, and sees what comes of it.
func (w *scripted) send(n int, frame []byte) {
	u := w.users[n]
	if code := u.closed(); code >= 0 {
		w.note("user %d was disconnected (%d), and comes back", n, code)
		u.mayEnd(code)
		w.connect(u, users[n])
	}
	w.note("user %d > %q", n, frame)
	expectation := u.sends(frame)
	_ = u.ws.SetWriteDeadline(time.Now().Add(time.Minute))
	require.NoError(w, u.ws.WriteMessage(websocket.TextMessage, frame), "the server does not read")
	w.receive()
	expectation()
}

// receive hands what has come to the model.
func (w *scripted) receive() {
	synctest.Wait()
	time.Sleep(2 * handOffAfter) // fake; for messages behind a call that was taken for a fast one
	synctest.Wait()
	for n, u := range w.users {
		for _, frame := range u.received() {
			w.note("user %d < %s", n, frame)
			u.receives(frame)
		}
	}
	for _, u := range w.users {
		if u.closed() < 0 {
			u.misses()
		}
	}
}

// ref returns a new ref.
func (w *scripted) ref() string {
	w.refs++
	return fmt.Sprintf("r%d", w.refs)
}

// message makes one message, right or wrong.
func (w *scripted) message(u *user) string {
	d := &w.dice
	ref := w.ref()
	id := scriptedID(w.begun, pickOf(d, 0, 0, 0, 0, 1, 1, 1, 2, 3, 4, futureID, oldID)) // so that things meet
	switch d.pick(12) {
	case 0:
		return fmt.Sprintf(`{"type":"cancel","ref":"%s","id":"%s"}`, ref, id)
	case 1, 2:
		epoch := ""
		if d.seldom(4) {
			epoch = `,"epoch":5`
		}
		return fmt.Sprintf(`{"type":"subscribe","ref":"%s","id":"%s","after":%d%s}`, ref, id, d.pick(8), epoch)
	case 3:
		return fmt.Sprintf(`{"type":"unsubscribe","ref":"%s","id":"%s"}`, ref, id)
	case 4:
		more := pickOf(d, "", `,"status":"queued"`, `,"action":"later"`, `,"limit":1`, `,"cursor":"AAAA"`, `,"limit":0`)
		return fmt.Sprintf(`{"type":"list","ref":"%s"%s}`, ref, more)
	case 5:
		return pickOf(d, `{"type":"ping"}`, `{"type":"seal","ref":"`+ref+`","id":"`+id+`","size":1}`, `{"type":"dance","ref":"`+ref+`"}`, `{"type":"ping","ref":"x"}`)
	case 6:
		token := pickOf(d, "ann", "brief", "bob", "eve", "other", "stale", "nobody")
		return fmt.Sprintf(`{"type":"auth","ref":"%s","token":"%s"}`, ref, token)
	}
	action := pickOf(d, "echo", "later", "stream", "hold", "hold", "hold", "hold", "flaky", "boom", "guarded", "none")
	payload := pickOf(d, u.marker(0), u.marker(0), u.marker(1), `"common"`, `"common"`, `"common"`, `5`)
	more := pickOf(d, "", "", "", "", "", "", "", "", "", `,"mode":"async"`, `,"mode":"sync"`, `,"mode":"auto"`, `,"delayMs":1500`, `,"cancelAfterMs":3000`, `,"timeoutMs":2000`,
		`,"idempotencyKey":"k0"`, `,"idempotencyKey":"k1"`, `,"group":"g"`, `,"metadata":{"m":`+u.marker(0)+`}`, `,"surprise":1`)
	return fmt.Sprintf(`{"type":"request","id":"%s","action":"%s","payload":%s%s}`, id, action, payload, more)
}

// awaitQuiet stops all that runs, and then holds what is stored against what was
// told, and what the server still holds against nothing.
func (w *scripted) awaitQuiet() {
	fresh := map[string]int{"ann": 0, "bob": 2, "eve": 3}
	forAll := func(n int, verb string) {
		for i := range ids {
			w.send(n, fmt.Appendf(nil, `{"type":"%s","ref":"%s","id":"%s"}`, verb, w.ref(), scriptedID(w.begun, i)))
		}
	}
	for token, n := range fresh {
		_ = w.users[n].ws.Close()
		synctest.Wait()
		w.connect(w.users[n], token)
		forAll(n, wire.TypeCancel)
	}
	w.note("a minute passes")
	time.Sleep(time.Minute) // fake
	w.receive()
	for _, u := range w.users {
		u.nothingIsOwed()
	}
	for _, n := range fresh {
		forAll(n, wire.TypeSubscribe)
	}
	w.users[0].model.allEnded(w)
	w.requireNothingLeft()
}

// requireNothingLeft checks what the server holds of connections, calls and tenants.
func (w *scripted) requireNothingLeft() {
	s := w.server
	conns := s.hub.all()
	for _, c := range conns {
		require.Zero(w, c.limits.pending.Load(), "unanswered messages of a connection")
		require.Zero(w, c.limits.held.Load(), "bytes of unanswered messages")
		require.True(w, c.limits.tenant.inline.IsEmpty(), "a tenant counts calls that run")
	}
	for _, u := range w.users {
		_ = u.ws.Close()
	}
	synctest.Wait()
	for _, c := range conns {
		require.Zero(w, s.subscriptions.Count(c.info.Address()), "a connection that is gone follows streams")
	}
	require.Zero(w, s.hub.limiter.taken, "places are taken without connections")
	require.Empty(w, s.hub.limiter.tenants)
	require.Empty(w, s.hub.all())
}
