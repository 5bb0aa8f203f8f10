package engine

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/stretchr/testify/require"
)

// These tests run an engine without a scheduler, on a store that several
// processes share, as on AWS: Submit stores calls for others, Run runs one call,
// and Sweep finds what was lost.

// recordingDispatcher has no workers, and keeps the hints that it gets.
type recordingDispatcher struct {
	mu    sync.Mutex
	hints []store.Hint
}

func (d *recordingDispatcher) Reserve() (func(<-chan struct{}), bool) { return nil, false }
func (d *recordingDispatcher) Forget(store.Key)                       {}

func (d *recordingDispatcher) Enqueue(hints ...store.Hint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hints = append(d.hints, hints...)
}

// take returns the hints that came since the last take.
func (d *recordingDispatcher) take() []store.Hint {
	d.mu.Lock()
	defer d.mu.Unlock()
	hints := d.hints
	d.hints = nil
	return hints
}

// newProcess returns a world whose engine is one of several on the store.
func newProcess(t *testing.T, s *memory.Store, actions ...*core.Action) (*world, *recordingDispatcher) {
	w := &world{T: t, store: s, reg: &core.Registry{Actions: map[string]*core.Action{}}}
	for _, a := range actions {
		a.Timeout, a.Decode = core.DefaultTimeout, func(b []byte) (any, error) { return b, nil }
		w.reg.Actions[a.Name] = a
	}
	d := &recordingDispatcher{}
	w.box = &inbox{messages: map[string][]wire.ServerMessage{}}
	w.notifier = deliver.New(nil, noLog)
	w.connect(deliver.Address{Tenant: "acme", Connection: "c1"})
	w.s = NewScheduler(SchedulerOptions{}) // of no use but to stop
	w.e = New(Options{Store: s, Registry: w.reg, Notifier: w.notifier, Dispatcher: d, Lease: time.Minute})
	return w, d
}

func TestRunWithoutScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d := newProcess(t, memory.New(nil), &core.Action{Name: "work", Retries: 1, Run: func(ctx context.Context, _ any, call *core.Call) ([]byte, error) {
			if call.Info.Attempt < 3 {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			chunk(call, 1)
			return []byte(`1`), nil
		}})
		defer w.stop()
		r := w.request("work", wire.ModeAsync)
		require.Equal(t, Accepted, w.submit(r).one(t).Kind)
		hints := d.take()
		require.Len(t, hints, 1)
		require.Equal(t, r.Key, hints[0].Key)

		// A function whose time is nearly over hands the call over.
		for range 2 {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, core.ErrHandover)
			ran, err := w.e.Run(ctx, r.Key, false)
			cancel()
			require.NoError(t, err)
			require.Nil(t, ran.Handler)
			require.False(t, ran.Next.Due.After(time.Now()))
			s := w.state(r.Key)
			require.Equal(t, store.Queued, s.Status)
			require.Equal(t, core.CodeHandover, s.Code)
			require.Zero(t, s.Failures, "a handover charges no retry")
		}
		w.box.delay = time.Second // Run returns when the end was sent
		ran, err := w.e.Run(t.Context(), r.Key, false)
		w.box.delay = 0
		require.NoError(t, err)
		require.Equal(t, Ran{}, ran)
		require.Equal(t, `ack attempt3:handover c1 ok1`, list(w.events(r.Key)))
		require.Len(t, w.box.of("c1", wire.TypeResult), 1)

		// A hint that comes twice publishes the end again, and runs nothing.
		w.follow(deliver.Address{Tenant: "acme", Connection: "c1"}, r.ID)
		ran, err = w.e.Run(t.Context(), r.Key, false)
		require.NoError(t, err)
		require.Equal(t, Ran{}, ran)
		require.Len(t, w.box.of("c1", wire.TypeResult), 2)
		require.Empty(t, d.take(), "Run returns what comes next, and enqueues nothing")

		_, err = w.e.Run(t.Context(), store.Key{Tenant: "acme", ID: wire.NewID()}, false)
		require.ErrorIs(t, err, store.ErrNotFound)
		later := w.request("work", wire.ModeAsync)
		later.Delay = time.Hour
		w.submit(later)
		ran, err = w.e.Run(t.Context(), later.Key, false)
		require.ErrorIs(t, err, store.ErrNotDue)
		require.Equal(t, w.state(later.Key).Due, ran.Next.Due)
	})
}

// A handler that ignores a handover is not waited for longer than CancelGrace;
// Run returns a channel that says when it has returned.
func TestRunReturnsBeforeUnresponsiveHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newProcess(t, memory.New(nil), &core.Action{Name: "work", Run: func(context.Context, any, *core.Call) ([]byte, error) {
			time.Sleep(time.Hour) // fake
			return []byte(`1`), nil
		}})
		defer w.stop()
		r := w.request("work", wire.ModeAsync)
		w.submit(r)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, core.ErrHandover)
		defer cancel()
		start := time.Now()
		ran, err := w.e.Run(ctx, r.Key, false)
		require.NoError(t, err)
		require.Equal(t, 11*time.Second, time.Since(start))
		require.Equal(t, store.Queued, w.state(r.Key).Status)
		require.NotNil(t, ran.Handler)
		<-ran.Handler
		require.Equal(t, time.Hour, time.Since(start))
	})
}

// A running call learns within 2 s that another process cancelled it, although the
// store notifies nobody; also when it reports nothing.
func TestRunningCallLearnsOfCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(nil)
		ended := make(chan time.Time, 1)
		w, _ := newProcess(t, s, &core.Action{Name: "work", Run: func(ctx context.Context, _ any, _ *core.Call) ([]byte, error) {
			<-ctx.Done()
			ended <- time.Now()
			return nil, context.Cause(ctx)
		}})
		defer w.stop()
		r := w.request("work", wire.ModeAsync)
		w.submit(r)
		go func() { _, _ = w.e.Run(context.Background(), r.Key, false) }()
		w.after(45*time.Second + 300*time.Millisecond)
		_, err := s.Cancel(t.Context(), r.Key, "ann") // by another process
		require.NoError(t, err)
		start := time.Now()
		require.LessOrEqual(t, (<-ended).Sub(start), 2*time.Second)
		synctest.Wait()
		require.Equal(t, store.Cancelled, w.state(r.Key).Status)
	})
}

// Sweep ends what is past its deadline, cancels what nobody has followed for its
// CancelAfter, and enqueues the rest that is due in time.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d := newProcess(t, memory.New(nil), &core.Action{Name: "work", Run: ok(`1`)})
		defer w.stop()
		submit := func(change func(*Request)) *Request {
			r := w.request("work", wire.ModeAsync)
			change(r)
			require.Equal(t, Accepted, w.submit(r).one(t).Kind)
			return r
		}
		after := 5 * time.Minute
		late := submit(func(r *Request) { r.Timeout = time.Minute })
		unfollowed := submit(func(r *Request) { r.CancelAfter, r.Delay = &after, time.Hour })
		followed := submit(func(r *Request) { r.CancelAfter, r.Delay = &after, 11*time.Minute })
		due := submit(func(*Request) {})
		beyond := submit(func(r *Request) { r.Delay = time.Hour })
		lost := submit(func(*Request) {})
		_, err := w.store.Claim(t.Context(), lost.Key, store.Claimant{Lease: time.Minute}) // and its worker crashes
		require.NoError(t, err)
		w.unfollow(deliver.Address{Tenant: "acme", Connection: "c1"}, unfollowed.ID)
		w.after(10 * time.Minute)
		d.take()

		shards := make([]int, store.DefaultShards)
		for i := range shards {
			shards[i] = i
		}
		more, err := w.e.Sweep(t.Context(), shards, time.Now().Add(2*time.Minute), 100)
		require.NoError(t, err)
		require.False(t, more)
		require.Equal(t, core.CodeDeadlineExceeded, w.state(late.Key).Code)
		require.Equal(t, store.Cancelled, w.state(unfollowed.Key).Status)
		require.Equal(t, store.Queued, w.state(beyond.Key).Status)
		var keys []store.Key
		for _, h := range d.take() {
			keys = append(keys, h.Key)
		}
		require.ElementsMatch(t, []store.Key{due.Key, followed.Key, lost.Key}, keys)
		more, err = w.e.Sweep(t.Context(), shards, time.Now(), 1)
		require.NoError(t, err)
		require.True(t, more, "a full page may not be the last")
	})
}
