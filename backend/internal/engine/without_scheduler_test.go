package engine

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
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

// withoutScheduler runs a test in a bubble, with an engine that gives its hints to
// a dispatcher without workers.
func withoutScheduler(t *testing.T, test func(w *world, d *recordingDispatcher), action *core.Action) {
	synctest.Test(t, func(t *testing.T) {
		w, d := newWorld(t, action), &recordingDispatcher{}
		w.s = NewScheduler(SchedulerOptions{}) // of no use but to stop
		w.open(d)
		defer w.stop()
		test(w, d)
	})
}

func TestRunWithoutScheduler(t *testing.T) {
	withoutScheduler(t, func(w *world, d *recordingDispatcher) {
		r := w.request("work", wire.ModeAsync)
		require.Equal(w, Accepted, w.submit(r).one(w).Kind)
		hints := d.take()
		require.Len(w, hints, 1)
		require.Equal(w, r.Key, hints[0].Key)

		// A function whose time is nearly over hands the call over.
		for range 2 {
			ctx, cancel := context.WithTimeoutCause(w.Context(), time.Second, core.ErrHandover)
			ran, err := w.e.Run(ctx, r.Key, false)
			cancel()
			require.NoError(w, err)
			require.Nil(w, ran.Handler)
			require.Equal(w, r.Key, ran.Next.Key)
			require.False(w, ran.Next.Due.After(time.Now()))
			s := w.state(r.Key)
			require.Equal(w, store.Queued, s.Status)
			require.Equal(w, core.CodeHandover, s.Code)
			require.Zero(w, s.Failures, "a handover charges no retry")
		}
		w.box.delay = time.Second // Run returns when the end was sent
		ran, err := w.e.Run(w.Context(), r.Key, false)
		w.box.delay = 0
		require.NoError(w, err)
		require.Equal(w, Ran{}, ran)
		require.Equal(w, `ack attempt3:handover c1 ok1`, list(w.events(r.Key)))
		require.Len(w, w.box.of("c1", wire.TypeResult), 1)

		// A hint that comes twice publishes the end again, and runs nothing.
		w.follow(c1, r.ID)
		ran, err = w.e.Run(w.Context(), r.Key, false)
		require.NoError(w, err)
		require.Equal(w, Ran{}, ran)
		require.Len(w, w.box.of("c1", wire.TypeResult), 2)
		require.Empty(w, d.take(), "Run returns what comes next, and enqueues nothing")

		_, err = w.e.Run(w.Context(), store.Key{Tenant: "acme", ID: wire.NewID()}, false)
		require.ErrorIs(w, err, store.ErrNotFound)
		later := w.start("work", delay(time.Hour))
		ran, err = w.e.Run(w.Context(), later.Key, false)
		require.ErrorIs(w, err, store.ErrNotDue)
		require.Equal(w, w.state(later.Key).Due, ran.Next.Due)
	}, &core.Action{Name: "work", Retries: 1, Run: func(ctx context.Context, _ any, call *core.Call) ([]byte, error) {
		if call.Info.Attempt < 3 {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		chunk(call, 1)
		return []byte(`1`), nil
	}})
}

// A handler that ignores a handover is not waited for longer than CancelGrace;
// Run returns a channel that says when it has returned.
func TestRunReturnsBeforeUnresponsiveHandler(t *testing.T) {
	withoutScheduler(t, func(w *world, _ *recordingDispatcher) {
		r := w.start("work")
		ctx, cancel := context.WithTimeoutCause(w.Context(), time.Second, core.ErrHandover)
		defer cancel()
		start := time.Now()
		ran, err := w.e.Run(ctx, r.Key, false)
		require.NoError(w, err)
		require.Equal(w, 11*time.Second, time.Since(start))
		require.Equal(w, store.Queued, w.state(r.Key).Status)
		require.NotNil(w, ran.Handler)
		<-ran.Handler
		require.Equal(w, time.Hour, time.Since(start))
	}, &core.Action{Name: "work", Run: sleeps(time.Hour)})
}

// A running call learns within 2 s that another process cancelled it, although the
// store notifies nobody; also when it reports nothing.
func TestRunningCallLearnsOfCancel(t *testing.T) {
	withoutScheduler(t, func(w *world, _ *recordingDispatcher) {
		r := w.start("work")
		go func() { _, _ = w.e.Run(context.Background(), r.Key, false) }()
		w.after(45*time.Second + 300*time.Millisecond)
		_, err := w.store.Cancel(w.Context(), r.Key, "ann") // by another process
		require.NoError(w, err)
		require.Equal(w, store.Cancelled, w.statusAfter(2*time.Second, r.Key))
	}, &core.Action{Name: "work", Run: untilDone})
}

// Sweep ends what is past its deadline, cancels what nobody has followed for its
// CancelAfter, and enqueues the rest that is due in time.
func TestSweep(t *testing.T) {
	withoutScheduler(t, func(w *world, d *recordingDispatcher) {
		late := w.start("work", timeout(time.Minute))
		unfollowed := w.start("work", cancelAfter(5*time.Minute), delay(time.Hour))
		followed := w.start("work", cancelAfter(5*time.Minute), delay(11*time.Minute))
		due, beyond, lost := w.start("work"), w.start("work", delay(time.Hour)), w.start("work")
		_, err := w.store.Claim(w.Context(), lost.Key, store.Claimant{Lease: time.Minute}) // and its worker crashes
		require.NoError(w, err)
		w.unfollow(c1, unfollowed.ID)
		w.after(10 * time.Minute)
		d.take()

		shards := make([]int, store.DefaultShards)
		for i := range shards {
			shards[i] = i
		}
		more, err := w.e.Sweep(w.Context(), shards, time.Now().Add(2*time.Minute), 100)
		require.NoError(w, err)
		require.False(w, more)
		require.Equal(w, core.CodeDeadlineExceeded, w.state(late.Key).Code)
		require.Equal(w, store.Cancelled, w.state(unfollowed.Key).Status)
		require.Equal(w, store.Queued, w.state(beyond.Key).Status)
		var keys []store.Key
		for _, h := range d.take() {
			keys = append(keys, h.Key)
		}
		require.ElementsMatch(w, []store.Key{due.Key, followed.Key, lost.Key}, keys)
		more, err = w.e.Sweep(w.Context(), shards, time.Now(), 1)
		require.NoError(w, err)
		require.True(w, more, "a full page may not be the last")
	}, &core.Action{Name: "work", Run: ok(`1`)})
}
