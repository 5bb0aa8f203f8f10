package engine

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/stretchr/testify/require"
)

// Invariant 6: the store knows whether a connection follows a call with
// CancelAfter, because the time without one goes on across restarts.
func TestInvariant06StoreKnowsWhetherACallIsFollowed(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		after := time.Hour
		r := w.request("work", wire.ModeAsync)
		r.CancelAfter = &after
		w.submit(r)
		require.True(w, w.state(r.Key).UnsubscribedAt.IsZero())
		for range 2 {
			w.disconnect(deliver.Address{Tenant: "acme", Connection: "c1"})
			require.Equal(w, time.Now().UnixMilli(), w.state(r.Key).UnsubscribedAt.UnixMilli())
			w.after(time.Minute)
			w.follow(deliver.Address{Tenant: "acme", Connection: "c1"}, r.ID)
			require.True(w, w.state(r.Key).UnsubscribedAt.IsZero())
		}
	}, &core.Action{Name: "work", Run: untilDone})
}

// Invariant 6: a connection that follows a call again is not overlooked because
// the write that says that none does comes late.
func TestInvariant06LateWriteDoesNotHideASubscriber(t *testing.T) {
	var writes atomic.Int32
	faults := faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		if op == faultstore.Watch && writes.Add(1) == 1 {
			time.Sleep(time.Second) // fake
		}
		return nil
	}}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		after := time.Hour
		r := w.request("work", wire.ModeAsync)
		r.CancelAfter = &after
		w.submit(r)
		go w.disconnect(deliver.Address{Tenant: "acme", Connection: "c1"})
		w.after(500 * time.Millisecond)
		w.follow(deliver.Address{Tenant: "acme", Connection: "c1"}, r.ID)
		w.after(time.Second)
		require.True(w, w.state(r.Key).UnsubscribedAt.IsZero())
	}, &core.Action{Name: "work", Run: untilDone})
}

// Invariant 6: a call that a connection follows is not cancelled because that
// could not be stored.
func TestInvariant06FollowedCallIsNotCancelled(t *testing.T) {
	var broken atomic.Bool
	faults := faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		if op == faultstore.Watch && broken.Load() {
			return errors.New("broken")
		}
		return nil
	}}
	inBubbleOn(t, faults, settings{}, func(w *world) {
		after := 2 * time.Minute
		r := w.request("work", wire.ModeAsync)
		r.CancelAfter = &after
		w.submit(r)
		w.disconnect(deliver.Address{Tenant: "acme", Connection: "c1"})
		broken.Store(true)
		w.follow(deliver.Address{Tenant: "acme", Connection: "c1"}, r.ID)
		broken.Store(false)
		w.after(4 * time.Minute)
		require.Equal(w, store.Running, w.state(r.Key).Status)
		require.True(w, w.state(r.Key).UnsubscribedAt.IsZero())
	}, &core.Action{Name: "work", Run: untilDone})
}

// Invariant 6: a connection that has ended before its call was stored does not
// count as one that follows it.
func TestInvariant06EndedConnectionDoesNotFollow(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		after := time.Minute
		r := w.request("work", wire.ModeAsync)
		r.CancelAfter, r.Connection = &after, "gone"
		w.submit(r)
		w.after(61 * time.Second)
		require.Equal(w, store.Cancelled, w.state(r.Key).Status)
	}, &core.Action{Name: "work", Run: untilDone})
}

// The end of a connection does not wait for the store.
func TestDisconnectDoesNotWaitForTheStore(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		after := time.Second
		r := w.request("work", wire.ModeAsync)
		r.CancelAfter = &after
		w.submit(r)
		w.link.cut.Store(true)
		changes, err := w.notifier.Disconnect(w.Context(), deliver.Address{Tenant: "acme", Connection: "c1"})
		require.NoError(w, err)
		begun := time.Now()
		w.e.SubscribersChanged(changes...)
		require.Zero(w, time.Since(begun))
		w.after(time.Minute)
		w.link.cut.Store(false)
		w.after(2 * time.Minute)
		require.Equal(w, store.Cancelled, w.state(r.Key).Status)
	}, &core.Action{Name: "work", Run: untilDone})
}
