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
		if err := playScript(t, script); err != nil {
			t.Fatal(err)
		}
	})
}

// The same with scripts that rapid makes, and makes shorter when one fails.
func TestSessionKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		for _, name := range []string{"first", "second"} {
			script := rapid.SliceOfN(rapid.Byte(), 0, 500).Draw(r, name)
			if err := playScript(t, script); err != nil {
				r.Fatal(err)
			}
		}
	})
}

// playScript returns what the script found wrong.
func playScript(t *testing.T, script []byte) (err error) {
	synctest.Test(t, func(*testing.T) {
		w, failed := newScripted(script)
		if failed != nil {
			err = failed
			return
		}
		defer w.close()
		if err = w.play(); err != nil {
			err = fmt.Errorf("%w\n%s", err, strings.Join(w.journal, "\n"))
		}
	})
	return err
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

func newScripted(script []byte) (*scripted, error) {
	s, err := New(scriptedRouter(), &Options{
		Auth: auth.AuthenticatorFunc(authenticateScripted), Queue: memory.New(nil), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	w := &scripted{
		dice: dice{script}, server: s, http: s.httpServer(s.mux), begun: time.Now(),
		network: memnet.NewListener(),
	}
	go func() { _ = w.http.Serve(w.network) }()
	m := newSessionModel(w.begun)
	for _, token := range users {
		u := &user{}
		u.model = m
		w.users = append(w.users, u)
		if err := w.connect(u, token); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

// connect opens a user's connection anew.
func (w *scripted) connect(u *user, token string) error {
	dialer := websocket.Dialer{NetDialContext: w.network.DialContext, Subprotocols: []string{wire.Subprotocol}}
	ws, response, err := dialer.Dial("ws://pipe/", http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return fmt.Errorf("%s cannot connect: %w", token, err)
	}
	_ = response.Body.Close()
	id, _ := authenticateScripted(context.Background(), token) // no time has passed: it expires when the connection does
	u.connected(id)
	u.ws, u.code, u.frames = ws, -1, nil
	go func() {
		for {
			_, data, err := ws.ReadMessage()
			u.mu.Lock()
			if err != nil {
				u.code = 0
				if closing := (*websocket.CloseError)(nil); errors.As(err, &closing) {
					u.code = closing.Code
				}
				u.mu.Unlock()
				_ = ws.Close()
				return
			}
			u.frames = append(u.frames, data)
			u.mu.Unlock()
		}
	}()
	return nil
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
func (w *scripted) play() error {
	for range maxSteps {
		if len(w.dice.script) == 0 {
			break
		}
		if err := w.step(); err != nil {
			return err
		}
	}
	return w.awaitQuiet()
}

func (w *scripted) step() error {
	n := w.dice.pick(len(w.users))
	u := w.users[n]
	switch what := w.dice.pick(16); what {
	case 0, 1:
		d := pickOf(&w.dice, time.Millisecond, 60*time.Millisecond, time.Second, 6*time.Second, 25*time.Second)
		w.note("%s passes", d)
		time.Sleep(d) // fake
		return w.receive()
	case 2:
		w.note("user %d disconnects and comes back", n)
		_ = u.ws.Close()
		synctest.Wait()
		return w.connect(u, users[n])
	case 3:
		frame := make([]byte, w.dice.pick(32))
		for i := range frame {
			frame[i] = byte(w.dice.pick(256))
		}
		return w.send(n, frame)
	case 4:
		frame := []byte(w.message(u))
		for range 1 + w.dice.pick(3) {
			frame[w.dice.pick(256)%len(frame)] = byte(w.dice.pick(256))
		}
		return w.send(n, frame)
	case 5, 6:
		var batch []string
		for range w.dice.pick(6) {
			batch = append(batch, w.message(u))
		}
		return w.send(n, []byte("["+strings.Join(batch, ",")+"]"))
	}
	return w.send(n, []byte(w.message(u)))
}

// send has a user send a frame, and sees what comes of it.
func (w *scripted) send(n int, frame []byte) error {
	u := w.users[n]
	u.mu.Lock()
	code := u.code
	u.mu.Unlock()
	if code >= 0 {
		w.note("user %d was disconnected (%d), and comes back", n, code)
		if err := u.mayEnd(code); err != nil {
			return err
		}
		if err := w.connect(u, users[n]); err != nil {
			return err
		}
	}
	w.note("user %d > %q", n, frame)
	expectation := u.sends(frame)
	_ = u.ws.SetWriteDeadline(time.Now().Add(time.Minute))
	if err := u.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
		return fmt.Errorf("the server does not read: %w", err)
	}
	if err := w.receive(); err != nil {
		return err
	}
	return expectation()
}

// receive hands what has come to the model.
func (w *scripted) receive() error {
	synctest.Wait()
	time.Sleep(2 * handOffAfter) // fake; for messages behind a call that was taken for a fast one
	synctest.Wait()
	for n, u := range w.users {
		u.mu.Lock()
		frames := u.frames
		u.frames = nil
		u.mu.Unlock()
		for _, frame := range frames {
			w.note("user %d < %s", n, frame)
			if err := u.receives(frame); err != nil {
				return fmt.Errorf("user %d: %w", n, err)
			}
		}
	}
	for n, u := range w.users {
		u.mu.Lock()
		there := u.code < 0
		u.mu.Unlock()
		if there {
			if err := u.misses(); err != nil {
				return fmt.Errorf("user %d: %w", n, err)
			}
		}
	}
	return nil
}

// message makes one message, right or wrong.
func (w *scripted) message(u *user) string {
	d := &w.dice
	w.refs++
	ref := fmt.Sprintf("r%d", w.refs)
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

// settle stops all that runs, and then holds what is stored against what was
// told, and what the server still holds against nothing.
func (w *scripted) awaitQuiet() error {
	fresh := map[string]int{"ann": 0, "bob": 2, "eve": 3}
	for token, n := range fresh {
		_ = w.users[n].ws.Close()
		synctest.Wait()
		if err := w.connect(w.users[n], token); err != nil {
			return err
		}
		for i := range ids {
			w.refs++
			frame := fmt.Sprintf(`{"type":"cancel","ref":"r%d","id":"%s"}`, w.refs, scriptedID(w.begun, i))
			if err := w.send(n, []byte(frame)); err != nil {
				return err
			}
		}
	}
	w.note("a minute passes")
	time.Sleep(time.Minute) // fake
	if err := w.receive(); err != nil {
		return err
	}
	for n, u := range w.users {
		if err := u.nothingIsOwed(); err != nil {
			return fmt.Errorf("user %d: %w", n, err)
		}
	}
	for _, n := range fresh {
		for i := range ids {
			w.refs++
			frame := fmt.Sprintf(`{"type":"subscribe","ref":"r%d","id":"%s"}`, w.refs, scriptedID(w.begun, i))
			if err := w.send(n, []byte(frame)); err != nil {
				return err
			}
		}
	}
	if err := w.users[0].model.allEnded(); err != nil {
		return err
	}
	return w.leftovers()
}

// leftovers are what the server holds of connections, calls and tenants.
func (w *scripted) leftovers() error {
	s := w.server
	conns := s.hub.all()
	for _, c := range conns {
		if c.limits.pending.Load() != 0 || c.limits.held.Load() != 0 {
			return fmt.Errorf("a connection counts %d unanswered messages of %d bytes", c.limits.pending.Load(), c.limits.held.Load())
		}
		if !c.limits.tenant.inline.IsEmpty() {
			return errors.New("a tenant counts calls that run")
		}
	}
	for _, u := range w.users {
		_ = u.ws.Close()
	}
	synctest.Wait()
	for _, c := range conns {
		if n := s.subscriptions.Count(c.info.Address()); n != 0 {
			return fmt.Errorf("a connection that is gone follows %d streams", n)
		}
	}
	if r := &s.hub.limiter; r.taken != 0 || len(r.tenants) != 0 || len(s.hub.all()) != 0 {
		return fmt.Errorf("%d places are taken by nobody, of %d tenants", r.taken, len(r.tenants))
	}
	return nil
}
