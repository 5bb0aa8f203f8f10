package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var zero = time.Unix(1_000_000_000, 0)

func at(seconds int) time.Time { return zero.Add(time.Duration(seconds) * time.Second) }

func hint(tenant, id string, due, deadline int) store.Hint {
	return store.Hint{Key: store.Key{Tenant: tenant, ID: id}, Due: at(due), Status: store.Queued, Deadline: at(deadline)}
}

// Of two hints for a request, the newer Watch counts, whichever came first.
func TestNewerWatchIsKept(t *testing.T) {
	s := newSchedule(100)
	newer, older := hint("t", "x", 60, 3600), hint("t", "x", 1, 3600)
	newer.Watch, newer.CancelAt, older.Watch = 2, at(120), 1
	s.push(newer, at(0))
	s.push(older, at(0))
	got := s.items[newer.Key].hint
	require.EqualValues(t, 2, got.Watch)
	require.Equal(t, at(120), got.CancelAt)
	require.Equal(t, at(1), got.Due)
}

// Tenants take turns, however much one of them has asked for first.
func TestTenantsTakeTurns(t *testing.T) {
	s := newSchedule(1000)
	for i := range 100 {
		require.True(t, s.push(hint("greedy", fmt.Sprint(i), 0, 100), at(0)))
	}
	s.push(hint("modest", "0", 0, 100), at(0))
	s.push(hint("modest", "1", 0, 100), at(0))
	got := ""
	for range 6 {
		h, ok := s.pop(true)
		require.True(t, ok)
		got += h.Tenant[:1] + h.ID + " "
	}
	require.Equal(t, "g0 m0 g1 m1 g2 g3 ", got)
}

// Invariant 5: however many calls of one tenant wait, there is room for another's.
func TestInvariant05NoTenantFillsTheQueue(t *testing.T) {
	s := newSchedule(1000)
	took := func(tenant string) (n int) {
		for s.push(hint(tenant, fmt.Sprint(n), 0, 100), at(0)) {
			n++
		}
		return n
	}
	require.Equal(t, 800, took("greedy"))
	require.Equal(t, 160, took("modest"))
	for range 900 {
		_, ok := s.pop(true)
		require.True(t, ok)
	}
	require.Equal(t, map[string]int{"greedy": 60}, s.counts)
}

// Suspects wait in a line of their own, and are taken one at a time.
func TestQuarantinedRequestsWaitApart(t *testing.T) {
	s := newSchedule(10)
	died := hint("a", "suspect", 0, 100)
	died.Status, died.CrashCount = store.Running, 1 // its next claim is the second death
	s.push(died, at(0))
	s.push(hint("a", "innocent", 0, 100), at(0))
	h, ok := s.pop(false)
	require.True(t, ok)
	require.Equal(t, "innocent", h.ID)
	_, ok = s.pop(false)
	require.False(t, ok)
	h, ok = s.pop(true)
	require.True(t, ok)
	require.Equal(t, "suspect", h.ID)
}

// Against a model: nothing is lost, nothing comes twice, nothing comes before
// its time or after its deadline, and the bound holds.
func TestScheduleProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		s := newSchedule(limit)
		type want struct{ due, deadline int }
		model := map[store.Key]want{}
		now := 0
		taken := func(h store.Hint) {
			w, ok := model[h.Key]
			require.True(t, ok, "%v came twice, or was never there", h.Key)
			require.LessOrEqual(t, w.due, now)
			delete(model, h.Key)
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				due := rapid.IntRange(now-5, now+20).Draw(t, "due")
				h := hint(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tenant"), rapid.SampledFrom([]string{"1", "2", "3", "4", "5"}).Draw(t, "id"),
					due, max(due, now)+rapid.IntRange(1, 20).Draw(t, "life"))
				old, known := model[h.Key]
				took := s.push(h, at(now))
				own := 0
				for k := range model {
					if k.Tenant == h.Tenant {
						own++
					}
				}
				require.Equal(t, known || own < quota.ShareFactor*(limit-len(model)), took)
				if took && (!known || old.due > now && due < old.due) {
					model[h.Key] = want{due, int(h.Deadline.Sub(zero) / time.Second)}
				}
			},
			"pass": func(t *rapid.T) {
				now += rapid.IntRange(0, 10).Draw(t, "seconds")
				for _, h := range s.advance(at(now)) {
					require.LessOrEqual(t, model[h.Key].deadline, now)
					taken(h)
				}
			},
			"pop": func(t *rapid.T) {
				s.advance(at(now))
				for k, w := range model {
					if w.deadline <= now {
						delete(model, k) // advance has returned it
					}
				}
				if h, ok := s.pop(rapid.Bool().Draw(t, "alone")); ok {
					taken(h)
				} else {
					for k, w := range model {
						require.Greater(t, w.due, now, "%v was due", k)
					}
				}
			},
			"remove": func(t *rapid.T) {
				for k := range model {
					s.remove(k)
					delete(model, k)
					break
				}
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(model), s.len())
				_, ok := s.next()
				require.Equal(t, len(model) > 0, ok)
			},
		})
	})
}

// Of two hints for a request the newer Watch decides when it is to be cancelled.
func TestNewerWatchCounts(t *testing.T) {
	s := newSchedule(10)
	h := hint("acme", "1", 0, 100)
	s.push(h, at(0)) // it is ready
	h.Due, h.Watch, h.CancelAt = at(60), h.Watch+1, at(20)
	s.push(h, at(0))
	require.Empty(t, s.advance(at(19)))
	h.Watch, h.CancelAt = h.Watch-1, time.Time{}
	s.push(h, at(19))
	require.Len(t, s.advance(at(20)), 1)
}

// Calls that are cancelled while they wait leave no places behind.
func TestCancelledItemsLeaveTheirQueue(t *testing.T) {
	s := newSchedule(100)
	now := time.Now()
	for range 10_000 {
		k := store.Key{Tenant: "acme", ID: wire.NewID()}
		s.push(store.Hint{Key: k, Due: now, Deadline: now.Add(time.Hour)}, now)
		s.remove(k)
	}
	require.Less(t, len(s.ready["acme"].items), 100)
	_, found := s.pop(true)
	require.False(t, found)
}
