package engine

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/stretchr/testify/require"
)

// Invariant 6: the store knows whether a connection follows a call with
// CancelAfter, because the time without one goes on across restarts.
func TestInvariant06StoreKnowsWhetherACallIsFollowed(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.start("work", cancelAfter(time.Hour))
		require.True(w, w.state(r.Key).UnsubscribedAt.IsZero())
		for range 2 {
			w.disconnect(c1)
			require.Equal(w, time.Now().UnixMilli(), w.state(r.Key).UnsubscribedAt.UnixMilli())
			w.after(time.Minute)
			w.follow(c1, r.ID)
			require.True(w, w.state(r.Key).UnsubscribedAt.IsZero())
		}
	}, &core.Action{Name: "work", Run: untilDone})
}

// Invariant 6: a connection that follows a call again is not overlooked because
// the write that says that none does comes late.
func TestInvariant06LateWriteDoesNotHideASubscriber(t *testing.T) {
	var writes atomic.Int32
	inBubbleOn(t, before(faultstore.Watch, func() error {
		if writes.Add(1) == 1 {
			time.Sleep(time.Second) // fake
		}
		return nil
	}), settings{}, func(w *world) {
		r := w.start("work", cancelAfter(time.Hour))
		go w.disconnect(c1)
		w.after(500 * time.Millisecond)
		w.follow(c1, r.ID)
		w.after(time.Second)
		require.True(w, w.state(r.Key).UnsubscribedAt.IsZero())
	}, &core.Action{Name: "work", Run: untilDone})
}

// Invariant 6: a call that a connection follows is not cancelled because that
// could not be stored.
func TestInvariant06FollowedCallIsNotCancelled(t *testing.T) {
	var broken atomic.Bool
	inBubbleOn(t, before(faultstore.Watch, func() error {
		if broken.Load() {
			return errors.New("broken")
		}
		return nil
	}), settings{}, func(w *world) {
		r := w.start("work", cancelAfter(2*time.Minute))
		w.disconnect(c1)
		broken.Store(true)
		w.follow(c1, r.ID)
		broken.Store(false)
		require.Equal(w, store.Running, w.statusAfter(4*time.Minute, r.Key))
		require.True(w, w.state(r.Key).UnsubscribedAt.IsZero())
	}, &core.Action{Name: "work", Run: untilDone})
}

// Invariant 6: a connection that has ended before its call was stored does not
// count as one that follows it.
func TestInvariant06EndedConnectionDoesNotFollow(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.start("work", cancelAfter(time.Minute), from("gone"))
		require.Equal(w, store.Cancelled, w.statusAfter(61*time.Second, r.Key))
	}, &core.Action{Name: "work", Run: untilDone})
}

// The end of a connection does not wait for the store.
func TestDisconnectDoesNotWaitForTheStore(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r := w.start("work", cancelAfter(time.Second))
		w.link.cut.Store(true)
		changes, err := w.notifier.Disconnect(w.Context(), c1)
		require.NoError(w, err)
		begun := time.Now()
		w.e.SubscribersChanged(changes...)
		require.Zero(w, time.Since(begun))
		w.after(time.Minute)
		w.link.cut.Store(false)
		require.Equal(w, store.Cancelled, w.statusAfter(2*time.Minute, r.Key))
	}, &core.Action{Name: "work", Run: untilDone})
}

// A call with cancelAfter outlives the process. From the next one's start on
// no connection follows it, until one does.
func TestCancelAfterOutlivesTheProcess(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		submit := func(d time.Duration) store.Key {
			return w.start("work", cancelAfter(10*time.Minute), delay(d)).Key
		}
		unfollowed, followed := submit(0), submit(0)
		waits, met := submit(time.Hour), submit(20*time.Minute)
		w.after(time.Hour / 6)
		reopen := func() {
			w.stop()
			w.store.(*memory.Store).VoidLeases()
			w.boot()
		}
		reopen()
		w.after(9 * time.Minute)
		for _, k := range []store.Key{followed, met} {
			w.follow(c2, k.ID)
		}
		for _, k := range []store.Key{unfollowed, followed, waits, met} {
			require.False(w, w.state(k).Status.Ended())
		}
		require.Equal(w, store.Cancelled, w.statusAfter(2*time.Minute, unfollowed))
		require.Equal(w, store.Cancelled, w.state(waits).Status)
		require.Equal(w, store.Running, w.state(met).Status, "its time came after the restart")
		require.Equal(w, store.Running, w.state(followed).Status)
		require.Equal(w, store.Running, w.statusAfter(time.Hour, followed))

		reopen() // the time starts again
		require.Equal(w, store.Running, w.statusAfter(9*time.Minute, followed))
		w.follow(c2, followed.ID)
		w.after(time.Hour)
		w.unfollow(c2, followed.ID)
		require.Equal(w, store.Running, w.statusAfter(9*time.Minute, followed))
		require.Equal(w, store.Cancelled, w.statusAfter(2*time.Minute, followed))
	}, &core.Action{Name: "work", Run: untilDone, Timeout: 100 * time.Hour})
}

// Invariant 9: however many calls lose their last subscriber at once, and are
// cancelled for it, the writes at a time are bounded.
func TestInvariant09WritesOfManyCallsAreBounded(t *testing.T) {
	const calls = 4 * finishers
	var writes counter
	count := func(op faultstore.Op, _ store.Key) error {
		if op == faultstore.Watch || op == faultstore.CancelUnsubscribed {
			defer writes.count()()
			time.Sleep(time.Millisecond) // fake
		}
		return nil
	}
	inBubbleOn(t, faultstore.Hooks{Before: count}, noSweep, func(w *world) {
		var keys []store.Key
		for range calls {
			keys = append(keys, w.start("quick", cancelAfter(time.Minute), delay(10*time.Hour)).Key)
		}
		w.disconnect(c1)
		w.after(time.Second)
		require.EqualValues(w, watchers, writes.most.Load())
		writes.most.Store(0)
		for _, k := range keys {
			w.forget(k)
		}
		w.after(2 * time.Minute)
		_, err := w.e.Sweep(w.Context(), w.s.shards, time.Now(), calls)
		require.NoError(w, err)
		require.EqualValues(w, finishers, writes.most.Load())
		for _, k := range keys {
			require.Equal(w, store.Cancelled, w.state(k).Status)
		}
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}
