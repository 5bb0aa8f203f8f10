package engine

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/stretchr/testify/require"
)

// A call with cancelAfter outlives the process. From the next one's start on
// nobody follows it, until somebody comes.
func TestCancelAfterOutlivesTheProcess(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		submit := func(delay time.Duration) store.Key {
			r := w.request("work", wire.ModeAsync)
			after := 10 * time.Minute
			r.CancelAfter, r.Delay = &after, delay
			w.submit(r)
			return r.Key
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
		a := deliver.Address{Tenant: "acme", Connection: "c2"}
		w.after(9 * time.Minute)
		for _, k := range []store.Key{followed, met} {
			w.follow(a, k.ID)
		}
		for _, k := range []store.Key{unfollowed, followed, waits, met} {
			require.False(w, w.state(k).Status.Ended())
		}
		w.after(2 * time.Minute)
		require.Equal(w, store.Cancelled, w.state(unfollowed).Status)
		require.Equal(w, store.Cancelled, w.state(waits).Status)
		require.Equal(w, store.Running, w.state(met).Status, "its time came after the restart")
		require.Equal(w, store.Running, w.state(followed).Status)
		w.after(time.Hour)
		require.Equal(w, store.Running, w.state(followed).Status)

		reopen() // the time starts anew
		w.after(9 * time.Minute)
		require.Equal(w, store.Running, w.state(followed).Status)
		w.follow(a, followed.ID)
		w.after(time.Hour)
		w.unfollow(a, followed.ID)
		w.after(9 * time.Minute)
		require.Equal(w, store.Running, w.state(followed).Status)
		w.after(2 * time.Minute)
		require.Equal(w, store.Cancelled, w.state(followed).Status)
	}, &core.Action{Name: "work", Run: untilDone, Timeout: 100 * time.Hour})
}
