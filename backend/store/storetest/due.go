package storetest

import (
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

var dueCases = []Case{
	{"queued requests are due in their shard, earliest first", func(r *rig) {
		until := r.Now().Add(30 * time.Second)
		var want, got []string
		for i := range 60 {
			s := r.accept(func(n *store.Request) { n.NotBefore = r.Now().Add(time.Duration((i*37)%60) * time.Second) })
			if !s.Due.After(until) {
				want = append(want, s.ID)
			}
		}
		for shard := range r.Shards {
			hints := r.dueIn(shard, until, 100)
			for i, h := range hints {
				got = append(got, h.ID)
				require.Equal(r, hints[:i+1], r.dueIn(shard, until, i+1))
			}
		}
		require.ElementsMatch(r, want, got)
	}},
	{"a hint has what the scheduler needs", func(r *rig) {
		s := r.accept(claimed, func(n *store.Request) { n.CancelAfter, n.Connection = new(3*time.Second), "conn" })
		s = r.finish(s, store.Outcome{Code: "x", Due: r.Now().Add(time.Hour)})
		require.Equal(r, []store.Hint{{
			Key: s.Key, Due: s.Due, Status: store.Queued, Action: action, Deadline: s.Deadline, Fence: 1,
		}}, r.dueHints(r.Now().Add(time.Hour)))
		require.Empty(r, r.dueHints(r.Now().Add(time.Hour-time.Second)))
	}},
	{"a retry moves when a request is due", func(r *rig) {
		s := r.finish(r.accept(claimed), store.Outcome{Code: "x", Due: r.Now().Add(time.Minute)})
		require.Empty(r, r.dueHints(r.Now()))
		r.Advance(time.Minute)
		require.Len(r, r.dueHints(r.Now()), 1)
		r.claim(s.Key)
		require.Empty(r, r.dueHints(r.Now()), "what runs under a lease is not due")
	}},
	{"an ended request is never due", func(r *rig) {
		r.finish(r.accept(claimed), succeeded(`1`))
		r.cancel(r.accept().Key)
		require.Empty(r, r.dueHints(r.Now().Add(1e6*time.Hour)))
	}},
	{"a running request is due when its lease is void", func(r *rig) {
		s := r.recordChunks(r.accept(claimed), "a")
		c := r.claim(r.accept().Key).State
		r.crash()
		due := map[string]store.Status{}
		for _, h := range r.dueHints(r.Now()) {
			due[h.ID] = h.Status
		}
		require.Equal(r, map[string]store.Status{s.ID: store.Running, c.ID: store.Running}, due)
		r.claim(s.Key)
		require.Len(r, r.dueHints(r.Now()), 1)
		r.crash()
		require.Len(r, r.dueHints(r.Now()), 2)
	}},
	{"a record renews the lease", func(r *rig) {
		s := r.accept(claimed)
		for range 4 {
			r.Advance(Lease / 3)
			s = r.recordChunks(s, "a")
			r.Advance(Lease * 2 / 3)
			r.refuseClaim(s.Key, store.ErrLeased)
		}
	}},
	{"queued requests survive a crash", func(r *rig) {
		s := r.accept()
		later := r.accept(func(n *store.Request) { n.NotBefore = r.Now().Add(time.Hour) })
		r.crash()
		r.requireState(s)
		r.requireState(later)
		require.Len(r, r.dueHints(r.Now()), 1)
		require.Len(r, r.dueHints(r.Now().Add(time.Hour)), 2)
		w := r.claim(s.Key)
		require.Equal(r, 1, w.State.Attempt)
		require.Equal(r, `{"a":1}`, string(w.Input))
	}},
	{"a shard that does not exist is refused", func(r *rig) {
		for _, shard := range []int{-1, r.Shards} {
			_, err := r.Queue.Due(r.Context(), shard, r.Now(), 1)
			require.Error(r, err)
		}
	}},
}

// dueHints returns the hints of all shards that are due.
func (r *rig) dueHints(until time.Time) (all []store.Hint) {
	for shard := range r.Shards {
		all = append(all, r.dueIn(shard, until, 1000)...)
	}
	return all
}

// dueIn returns the hints of one shard that are due. They must belong to the
// shard and be ordered.
func (r *rig) dueIn(shard int, until time.Time, limit int) []store.Hint {
	hints, err := r.Queue.Due(r.Context(), shard, until, limit)
	require.NoError(r, err)
	require.True(r, slices.IsSortedFunc(hints, func(a, b store.Hint) int { return a.Due.Compare(b.Due) }))
	for _, h := range hints {
		require.Equal(r, shard, store.ShardOf(h.Key, r.Shards))
	}
	return hints
}
