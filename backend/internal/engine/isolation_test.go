package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// Invariant 5: a tenant that holds all the inline calls it can get takes none from
// others; what it gives back, it gets again.
func TestInvariant05NoTenantTakesAllInlineCalls(t *testing.T) {
	inBubble(t, settings{Options: Options{MaxInline: 100}}, func(w *world) {
		var greedy, modest quota.Share
		got := make(answers, 200)
		submit := func(tenant string, s *quota.Share) {
			r := w.request("slow", wire.ModeAuto)
			r.Tenant, r.Share = tenant, s
			go w.handle(r, func(a Answer) { got <- a })
		}
		for range 100 {
			submit("greedy", &greedy)
		}
		w.after(time.Second)
		require.Len(w, got, 20, "it was refused a fifth")
		for range 20 {
			refusal := <-got
			require.Equal(w, core.CodeOverloaded, refusal.Err.Code)
			require.False(w, refusal.Final)
		}
		submit("modest", &modest)
		w.after(time.Second)
		require.Empty(w, got, "the other one runs")
		requireUsed(w, w.e.inlineCalls, 100, 81)
		w.after(2 * time.Hour) // promoted ones count as long as their handlers run
		requireUsed(w, w.e.inlineCalls, 100, 0)
		require.True(w, greedy.IsEmpty() && modest.IsEmpty())
	}, &core.Action{Name: "slow", Run: takes(time.Hour)})
}

// Cancels of ids that never come cost neither time nor anybody else's memory.
func TestPendingCancelsAreShared(t *testing.T) {
	var m pendingCancels
	now := time.Now()
	key := func(tenant string, n int) callOwner {
		return callOwner{store.Key{Tenant: tenant, ID: fmt.Sprint(n)}, "ann"}
	}
	for n := range 2 * maxPendingCancels {
		m.add(key("greedy", n), now)
	}
	require.Len(t, m.until, maxPendingCancels*quota.ShareFactor/(quota.ShareFactor+1))
	m.add(key("modest", 1), now)
	require.True(t, m.take(key("modest", 1), now))
	require.False(t, m.take(key("modest", 1), now), "once")
	require.False(t, m.take(key("modest", 2), now))
	later := now.Add(store.CancelRetention + time.Second)
	require.False(t, m.take(key("greedy", 1), later), "its time is over")
	m.add(key("modest", 3), later)
	require.Len(t, m.queue, 1, "the old ones are gone")
	require.Equal(t, map[string]int{"modest": 1}, m.counts)
}

// requireUsed checks that used of a pool's size places are taken.
func requireUsed(t require.TestingT, pool *quota.Pool, size, used int64) {
	require.False(t, pool.Reserve(nil, size-used+1), "fewer places are taken")
	require.True(t, pool.Reserve(nil, size-used), "more places are taken")
	pool.Release(nil, size-used)
}

// Invariant 5: a cancel by another subject, or in another tenant, does not reach a
// call that runs inline.
func TestInvariant05CancelOfAnotherSubjectsInlineCall(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		r, got := w.send("work", wire.ModeAuto)
		require.ErrorIs(w, w.cancel(r, "bob"), store.ErrNotFound)
		_, err := w.e.Cancel(w.Context(), store.Key{Tenant: "evil", ID: r.ID}, "ann")
		require.ErrorIs(w, err, store.ErrNotFound)
		w.after(time.Minute)
		require.Equal(w, store.Succeeded, got.one(w).End.Status)
	}, &core.Action{Name: "work", Run: takes(time.Second)})
}
