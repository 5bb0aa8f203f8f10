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

// Law 5: a tenant that holds all the inline calls it can get takes none from
// others; what it gives back, it gets again.
func TestLaw05NoTenantTakesAllInlineCalls(t *testing.T) {
	inBubble(t, Options{MaxInline: 100}, func(w *world) {
		var greedy, modest quota.Share
		submit := func(tenant string, s *quota.Share) AnswerKind {
			r := w.request("slow", wire.ModeAuto)
			r.Tenant, r.Share = tenant, s
			kind := AnswerKind(99)
			w.e.Submit(r, func(a Answer) {
				kind = a.Kind
				if kind == Refused {
					require.Equal(w, core.CodeOverloaded, a.Err.Code)
					require.False(w, a.Final)
				}
			})
			return kind
		}
		ran := make(chan AnswerKind, 200)
		for range 100 {
			go func() { ran <- submit("greedy", &greedy) }()
		}
		w.after(time.Second)
		require.Len(w, ran, 20, "it was refused a fifth")
		go func() { ran <- submit("modest", &modest) }()
		w.after(time.Second)
		require.Len(w, ran, 20, "the other one runs")
		require.EqualValues(w, 81, w.e.inlineCalls.Used())
		w.after(2 * time.Hour) // promoted ones count as long as their handlers run
		require.Zero(w, w.e.inlineCalls.Used())
		require.True(w, greedy.Idle() && modest.Idle())
	}, &core.Action{Name: "slow", Run: takes(time.Hour)})
}

// Calls that end when nobody follows them are watched in memory: so many, and
// not all of one tenant's.
func TestAbandonableCallsAreShared(t *testing.T) {
	inBubble(t, Options{}, func(w *world) {
		after := time.Hour
		submit := func(tenant string) string {
			r := w.request("quick", wire.ModeAsync)
			r.Tenant, r.CancelAfter, r.Delay = tenant, &after, time.Hour
			code := ""
			w.e.Submit(r, func(a Answer) {
				if a.Kind == Refused {
					code = a.Err.Code
				}
			})
			return code
		}
		const most = maxAbandonable * quota.Generosity / (quota.Generosity + 1)
		b := &w.e.abandon
		b.mu.Lock()
		for n := range most - 1 {
			b.calls[store.Key{Tenant: "greedy", ID: fmt.Sprint(n)}] = &abandonable{}
		}
		b.own["greedy"] = most - 1
		b.mu.Unlock()
		require.Empty(w, submit("greedy"))
		require.Equal(w, core.CodeOverloaded, submit("greedy"))
		require.Empty(w, submit("modest"))
		b.forget(store.Key{Tenant: "greedy", ID: "0"})
		require.Empty(w, submit("greedy"))
		require.Equal(w, core.CodeOverloaded, submit("greedy"))
	}, &core.Action{Name: "quick", Run: ok(`1`)})
}

// Cancels of ids that never come cost neither time nor anybody else's memory.
func TestMissedCancelsAreShared(t *testing.T) {
	var m missed
	now := time.Now()
	key := func(tenant string, n int) owned {
		return owned{store.Key{Tenant: tenant, ID: fmt.Sprint(n)}, "ann"}
	}
	for n := range 2 * maxMissed {
		m.remember(key("greedy", n), now)
	}
	require.Len(t, m.until, maxMissed*quota.Generosity/(quota.Generosity+1))
	m.remember(key("modest", 1), now)
	require.True(t, m.take(key("modest", 1), now))
	require.False(t, m.take(key("modest", 1), now), "once")
	require.False(t, m.take(key("modest", 2), now))
	later := now.Add(store.CancelMemory + time.Second)
	require.False(t, m.take(key("greedy", 1), later), "its time is over")
	m.remember(key("modest", 3), later)
	require.Len(t, m.queue, 1, "the old ones are gone")
	require.Equal(t, map[string]int{"modest": 1}, m.own)
}
