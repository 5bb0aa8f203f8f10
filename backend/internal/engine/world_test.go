package engine

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inbox is a Poster that keeps what each connection is sent.
type inbox struct {
	mu       sync.Mutex
	messages map[string][]wire.ServerMessage
	refuse   map[string]error
}

func newInbox() *inbox {
	return &inbox{messages: map[string][]wire.ServerMessage{}, refuse: map[string]error{}}
}

func (b *inbox) Post(to deliver.Address, messages ...[]byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuse[to.Connection]; err != nil {
		return err
	}
	for _, data := range messages {
		got, err := wire.DecodeServerFrame(data)
		if err != nil {
			panic(err)
		}
		b.messages[to.Connection] = append(b.messages[to.Connection], got...)
	}
	return nil
}

func (b *inbox) Put(to deliver.Address, _ deliver.Slot, message []byte) error {
	b.mu.Lock()
	err := b.refuse[to.Connection]
	b.mu.Unlock()
	if errors.Is(err, deliver.ErrGone) {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	got, bad := wire.DecodeServerFrame(message)
	if bad != nil {
		panic(bad)
	}
	b.messages[to.Connection] = append(b.messages[to.Connection], got...)
	return nil
}

func (b *inbox) Alive(deliver.Address) bool { return true }

// of returns what a connection was sent of some types, all if none is named.
func (b *inbox) of(connection string, types ...string) (out []wire.ServerMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages[connection] {
		if len(types) == 0 {
			out = append(out, m)
		}
		for _, typ := range types {
			if m.Type == typ {
				out = append(out, m)
			}
		}
	}
	return out
}

// world is an engine with real parts around it, in a bubble of fake time.
type world struct {
	*testing.T
	store  faultstore.Roles
	faults faultstore.Hooks
	link   *link
	box    *inbox
	tell   *deliver.Teller
	reg    *core.Registry
	e      *Engine
	opts   Options
}

// link is an engine's way to the store.
type link struct {
	// closed is as if the engine's process had died.
	closed atomic.Bool
	// cut is as if the network to the store was.
	cut atomic.Bool
}

// connect returns the store as an engine at the end of the link finds it.
func (l *link) connect(base faultstore.Roles, faults faultstore.Hooks) *faultstore.Store {
	return faultstore.New(base, faultstore.Hooks{After: faults.After, Before: func(op faultstore.Op, k store.Key) error {
		switch {
		case l.closed.Load():
			return store.ErrClosed
		case l.cut.Load():
			return store.ErrUnavailable
		case faults.Before != nil:
			return faults.Before(op, k)
		}
		return nil
	}})
}

// inBubble runs a test in a bubble, with an engine that is started.
func inBubble(t *testing.T, o Options, test func(w *world), actions ...*core.Action) {
	inBubbleOn(t, faultstore.Hooks{}, o, test, actions...)
}

func inBubbleOn(t *testing.T, faults faultstore.Hooks, o Options, test func(w *world), actions ...*core.Action) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, store: memory.New(nil), faults: faults, opts: o, reg: &core.Registry{Actions: map[string]*core.Action{}}}
		for _, a := range actions {
			if a.Timeout == 0 {
				a.Timeout = core.DefaultTimeout
			}
			if a.Decode == nil {
				a.Decode = func(b []byte) (any, error) { return json.RawMessage(b), nil }
			}
			w.reg.Actions[a.Name] = a
		}
		w.boot()
		test(w)
		w.stop()
	})
}

// boot starts an engine on the store, as a new process would.
func (w *world) boot() {
	w.Helper()
	w.box = newInbox()
	w.link = &link{}
	w.tell = deliver.NewTeller(memory.New(nil), w.box, discard)
	o := w.opts
	o.Store, o.Registry, o.Teller, o.Lease = w.link.connect(withDefect(w.store), w.faults), w.reg, w.tell, time.Minute
	w.e = New(o)
	require.NoError(w, w.e.Start(w.Context()))
}

// kill ends the engine without a word, and waits until its leases are void.
func (w *world) kill() {
	w.link.closed.Store(true)
	w.e.stopping.Store(true)
	for _, a := range w.e.attempts() {
		a.end(errors.New("killed"))
	}
	w.e.quit()
	synctest.Wait()
	time.Sleep(61 * time.Second) // fake: the leases run out
}

func (w *world) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(w, w.e.Stop(ctx))
}

// request returns a request of acme's ann for an action.
func (w *world) request(action string, mode string) *Request {
	a := w.reg.Actions[action]
	require.NotNil(w, a, action)
	return &Request{
		Key: store.Key{Tenant: "acme", ID: wire.NewID()}, Subject: "ann", Connection: "c1", Action: a,
		In: json.RawMessage(`{}`), Payload: []byte(`{}`), Sync: mode == wire.ModeSync, Async: mode == wire.ModeAsync,
	}
}

// submit submits beside the test, and returns where the answer will be.
func (w *world) submit(r *Request) *answers {
	got := &answers{}
	go w.e.Submit(r, func(a Answer) {
		got.mu.Lock()
		defer got.mu.Unlock()
		got.list = append(got.list, a)
	})
	synctest.Wait()
	return got
}

type answers struct {
	mu   sync.Mutex
	list []Answer
}

func (a *answers) one(t require.TestingT) Answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	require.Len(t, a.list, 1, "a request is answered exactly once")
	return a.list[0]
}

func (a *answers) none(t require.TestingT) {
	a.mu.Lock()
	defer a.mu.Unlock()
	require.Empty(t, a.list)
}

// after lets fake time pass.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) state(k store.Key) store.State {
	s, _, err := w.store.Read(w.Context(), k, 0, 0)
	require.NoError(w, err)
	return s
}

func (w *world) events(k store.Key) []store.Event {
	_, events, err := w.store.Read(w.Context(), k, 0, 1<<30)
	require.NoError(w, err)
	return events
}

// list writes events short: "ack c:1 c:2 a:2(1) ok".
func list(events []store.Event) string {
	out := ""
	for i, e := range events {
		if i > 0 {
			out += " "
		}
		switch e.Kind {
		case store.Ack:
			out += "ack"
		case store.Chunk:
			out += "c" + string(e.Data)
		case store.Attempt:
			out += "attempt" + string(rune('0'+e.Attempt)) + ":" + e.Code
		case store.Result:
			out += "ok" + string(e.Data)
		case store.Error:
			out += "error:" + e.Code
		}
	}
	return out
}
