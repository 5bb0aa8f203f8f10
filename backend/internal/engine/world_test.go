package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// inbox is a Sender that keeps what each connection is sent.
type inbox struct {
	delay    time.Duration // of each Send, in fake time
	mu       sync.Mutex
	messages map[string][]wire.ServerMessage
}

func (b *inbox) Send(_ context.Context, to deliver.Address, frame []byte) error {
	got, err := wire.DecodeServerFrame(frame)
	if err != nil {
		return err
	}
	time.Sleep(b.delay) // fake
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages[to.Connection] = append(b.messages[to.Connection], got...)
	return nil
}

func (b *inbox) Close(context.Context, deliver.Address, int) {}

// of returns what a connection was sent of some types, all if none is named.
func (b *inbox) of(connection string, types ...string) (out []wire.ServerMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages[connection] {
		if len(types) == 0 || slices.Contains(types, m.Type) {
			out = append(out, m)
		}
	}
	return out
}

// world is an engine with real parts around it, in a bubble of fake time.
type world struct {
	*testing.T
	store    faultstore.Roles
	faults   faultstore.Hooks
	link     *link
	box      *inbox
	notifier *deliver.Notifier
	reg      *core.Registry
	e        *Engine
	s        *Scheduler
	opts     settings
}

// settings are an engine's and its scheduler's.
type settings struct {
	Options
	SchedulerOptions
}

var (
	oneWorker = settings{SchedulerOptions: SchedulerOptions{Workers: 1}}
	noSweep   = settings{SchedulerOptions: SchedulerOptions{SweepInterval: 24 * time.Hour}}
)

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
func inBubble(t *testing.T, o settings, test func(w *world), actions ...*core.Action) {
	inBubbleOn(t, faultstore.Hooks{}, o, test, actions...)
}

func inBubbleOn(t *testing.T, faults faultstore.Hooks, o settings, test func(w *world), actions ...*core.Action) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actions...)
		w.faults, w.opts = faults, o
		w.boot()
		test(w)
		w.stop()
	})
}

// newWorld returns a world without an engine.
func newWorld(t *testing.T, actions ...*core.Action) *world {
	w := &world{T: t, store: memory.New(nil), reg: &core.Registry{Actions: map[string]*core.Action{}}}
	for _, a := range actions {
		a.Timeout = cmp.Or(a.Timeout, core.DefaultTimeout)
		a.Decode = func(b []byte) (any, error) { return json.RawMessage(b), nil }
		w.reg.Actions[a.Name] = a
	}
	return w
}

// boot starts an engine and its scheduler on the store, as a new process would.
func (w *world) boot() {
	w.Helper()
	w.s = NewScheduler(w.opts.SchedulerOptions)
	w.open(w.s)
	require.NoError(w, w.s.Start(w.Context(), w.e))
}

// open makes an engine on the store. The connections c1 and c2 of acme are there.
func (w *world) open(d Dispatcher) {
	w.box = &inbox{messages: map[string][]wire.ServerMessage{}}
	w.link = &link{}
	w.notifier = deliver.New(nil, noLog)
	w.connect(c1)
	w.connect(c2)
	o := w.opts.Options
	o.Store, o.Lease = w.link.connect(withDefect(w.store), w.faults), time.Minute
	o.Registry, o.Notifier, o.Dispatcher = w.reg, w.notifier, d
	w.e = New(o)
}

var (
	c1 = deliver.Address{Tenant: "acme", Connection: "c1"}
	c2 = deliver.Address{Tenant: "acme", Connection: "c2"}
)

// connect opens a connection whose messages are sent by who adds them.
func (w *world) connect(a deliver.Address) {
	w.notifier.Open(a, deliver.OutboxOptions{
		Sender: w.box, Limit: 1 << 20, Start: func(o *deliver.Outbox) { _ = o.Drain(context.Background()) },
	})
}

// disconnect ends a connection.
func (w *world) disconnect(a deliver.Address) {
	changes, err := w.notifier.Disconnect(w.Context(), a)
	require.NoError(w, err)
	w.e.SubscribersChanged(changes...)
	synctest.Wait()
}

// follow makes ann's connection follow a call, and opens it if it is gone.
func (w *world) follow(a deliver.Address, id string) {
	w.connect(a)
	s := w.state(store.Key{Tenant: a.Tenant, ID: id})
	change, err := w.notifier.Subscribe(w.Context(), store.Subscription{
		Tenant: a.Tenant, Stream: id, Connection: a.Connection, Subject: "ann", Live: true, Watched: s.CancelAfter != nil,
	})
	require.NoError(w, err)
	w.e.SubscribersChanged(change)
	synctest.Wait()
}

func (w *world) unfollow(a deliver.Address, id string) {
	change, err := w.notifier.Unsubscribe(w.Context(), a, id)
	require.NoError(w, err)
	w.e.SubscribersChanged(change)
	synctest.Wait()
}

// kill ends the engine without a word, and waits until its leases are void.
func (w *world) kill() {
	w.link.closed.Store(true)
	w.s.Stop()
	w.e.calls.refuseNew()
	for _, a := range w.e.calls.attempts() {
		a.cancel(errors.New("killed"))
	}
	w.e.quit()
	synctest.Wait()
	time.Sleep(61 * time.Second) // fake: the leases run out
}

func (w *world) stop() { w.stopAfter(time.Minute) }

// stopNow stops without a grace period.
func (w *world) stopNow() { w.stopAfter(0) }

func (w *world) stopAfter(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	w.s.Stop()
	w.e.Stop(ctx)
	w.s.Wait()
}

// request returns a request of acme's ann for an action.
func (w *world) request(action string, mode string) *Request {
	a := w.reg.Actions[action]
	require.NotNil(w, a, action)
	r := &Request{
		Key: store.Key{Tenant: "acme", ID: wire.NewID()}, Subject: "ann", Connection: "c1", Action: a,
		In: json.RawMessage(`{}`), Payload: []byte(`{}`), Sync: mode == wire.ModeSync,
	}
	if mode == wire.ModeAsync {
		r.Placement = Stored
	}
	return r
}

// handle carries a request out on this goroutine, as a session does.
func (w *world) handle(r *Request, answer func(Answer)) {
	r.Placement = r.Place(r.Placement == Stored, w.e.Threshold)
	s := w.e.Submit(context.Background(), r, answer)
	if s.Answer != nil {
		answer(*s.Answer)
	}
	if s.Then != nil {
		s.Then()
	}
	if s.Attempt != nil {
		s.Attempt.Run(context.Background())
	}
}

// submit submits beside the test, and returns where the answer will be.
func (w *world) submit(r *Request) answers {
	got := make(answers, 8)
	go w.handle(r, func(a Answer) { got <- a })
	synctest.Wait()
	return got
}

// send makes a request and submits it.
func (w *world) send(action, mode string, changes ...func(*Request)) (*Request, answers) {
	r := w.request(action, mode)
	for _, change := range changes {
		change(r)
	}
	return r, w.submit(r)
}

// start sends a request that is stored at once.
func (w *world) start(action string, changes ...func(*Request)) *Request {
	r, _ := w.send(action, wire.ModeAsync, changes...)
	return r
}

// Changes of a request.
func delay(d time.Duration) func(*Request)       { return func(r *Request) { r.Delay = d } }
func timeout(d time.Duration) func(*Request)     { return func(r *Request) { r.Timeout = d } }
func cancelAfter(d time.Duration) func(*Request) { return func(r *Request) { r.CancelAfter = &d } }
func sameID(as *Request) func(*Request)          { return func(r *Request) { r.Key = as.Key } }
func from(connection string) func(*Request)      { return func(r *Request) { r.Connection = connection } }

// accept stores a request as another process would.
func (w *world) accept(r *Request) {
	_, err := w.store.Accept(w.Context(), r.forStore(time.Now(), time.Now().Add(time.Hour)))
	require.NoError(w, err)
}

func (w *world) cancel(r *Request, subject string) error {
	_, err := w.e.Cancel(w.Context(), r.Key, subject)
	return err
}

// answers are the answers to one request.
type answers chan Answer

func (a answers) one(t require.TestingT) Answer {
	require.Len(t, a, 1, "a request is answered exactly once")
	answer := <-a
	a <- answer
	return answer
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

// statusAfter lets fake time pass, and returns the status of a request then.
func (w *world) statusAfter(d time.Duration, k store.Key) store.Status {
	w.after(d)
	return w.state(k).Status
}

func (w *world) events(k store.Key) []store.Event {
	_, events, err := w.store.Read(w.Context(), k, 0, 1<<30)
	require.NoError(w, err)
	return events
}

// list writes events short: "ack c1 c2 attempt2:internal ok1".
func list(events []store.Event) string {
	var out []string
	for _, e := range events {
		switch e.Kind {
		case store.Ack:
			out = append(out, "ack")
		case store.Chunk:
			out = append(out, "c"+string(e.Data))
		case store.Attempt:
			out = append(out, fmt.Sprint("attempt", e.Attempt, ":", e.Code))
		case store.Result:
			out = append(out, "ok"+string(e.Data))
		case store.Error:
			out = append(out, "error:"+e.Code)
		}
	}
	return strings.Join(out, " ")
}

// forget drops the scheduler's hint for a request.
func (w *world) forget(k store.Key) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.schedule.remove(k)
}

// requireIdle checks that all workers are free.
func (w *world) requireIdle() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	require.Equal(w, w.s.opt.Workers, w.s.free)
	require.Zero(w, w.s.unresponsive)
	require.False(w, w.s.quarantineBusy)
}
