package storetest

import (
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

var dueTests = []test{
	{"what is queued is due in its shard, earliest first", func(r *rig) {
		var all []store.State
		for i := range 60 {
			s := r.accept(func(n *store.New) { n.NotBefore = r.Now().Add(time.Duration((i*37)%60) * time.Second) })
			all = append(all, s)
		}
		until := r.Now().Add(30 * time.Second)
		var want, got []string
		for _, s := range all {
			if !s.Due.After(until) {
				want = append(want, s.ID)
			}
		}
		for shard := range store.Shards {
			hints, err := r.Queue.Due(r.Context(), shard, until, 100)
			require.NoError(r, err)
			require.True(r, slices.IsSortedFunc(hints, func(a, b store.Hint) int { return a.At.Compare(b.At) }))
			for _, h := range hints {
				require.Equal(r, shard, store.ShardOf(h.Key))
				got = append(got, h.ID)
			}
			if len(hints) > 1 {
				some, err := r.Queue.Due(r.Context(), shard, until, len(hints)-1)
				require.NoError(r, err)
				require.Equal(r, hints[:len(hints)-1], some)
			}
		}
		require.ElementsMatch(r, want, got)
	}},
	{"a hint says what to do", func(r *rig) {
		s := r.accept(born, func(n *store.New) { n.CancelAfter = new(3 * time.Second) })
		s = r.finish(s, store.Outcome{Code: "x", Due: r.Now().Add(time.Hour)})
		require.Equal(r, []store.Hint{{
			Key: s.Key, At: s.Due, Status: store.Queued, Action: action, Deadline: s.Deadline, Fence: 1,
			CancelAfter: new(3 * time.Second),
		}}, r.due(r.Now().Add(time.Hour)))
		require.Empty(r, r.due(r.Now().Add(time.Hour-time.Second)))
	}},
	{"a retry moves what is due", func(r *rig) {
		s := r.finish(r.accept(born), store.Outcome{Code: "x", Due: r.Now().Add(time.Minute)})
		require.Empty(r, r.due(r.Now()))
		r.Advance(time.Minute)
		require.Len(r, r.due(r.Now()), 1)
		r.claim(s.Key)
		require.Empty(r, r.due(r.Now()), "what runs under a lease is not due")
	}},
	{"what has ended is never due", func(r *rig) {
		r.finish(r.accept(born), succeeded(`1`))
		_, err := r.Queue.Cancel(r.Context(), r.accept().Key, subject)
		require.NoError(r, err)
		require.Empty(r, r.due(r.Now().Add(1e6*time.Hour)))
	}},
	{"what runs is due when its lease is void", func(r *rig) {
		s := r.emit(r.accept(born), "a")
		c := r.claim(r.accept().Key).State
		r.void()
		hints := r.due(r.Now())
		require.Len(r, hints, 2)
		for _, h := range hints {
			require.Equal(r, store.Running, h.Status)
			require.Contains(r, []string{s.ID, c.ID}, h.ID)
		}
		r.claim(s.Key)
		require.Len(r, r.due(r.Now()), 1)
		r.void()
		require.Len(r, r.due(r.Now()), 2)
	}},
	{"a record holds the lease", func(r *rig) {
		s := r.accept(born)
		for range 4 {
			r.Advance(Lease * 2 / 3)
			s = r.emit(s, "a")
			_, err := r.Queue.Claim(r.Context(), s.Key, alone)
			require.ErrorIs(r, err, store.ErrLeased)
		}
	}},
	{"what is queued outlives a crash", func(r *rig) {
		s := r.accept()
		later := r.accept(func(n *store.New) { n.NotBefore = r.Now().Add(time.Hour) })
		r.void()
		same(r, s, r.state(s.Key))
		same(r, later, r.state(later.Key))
		require.Len(r, r.due(r.Now()), 1)
		require.Len(r, r.due(r.Now().Add(time.Hour)), 2)
		w := r.claim(s.Key)
		require.Equal(r, 1, w.State.Attempt)
		require.Equal(r, `{"a":1}`, string(w.Input))
	}},
	{"a shard that does not exist is refused", func(r *rig) {
		for _, shard := range []int{-1, store.Shards} {
			_, err := r.Queue.Due(r.Context(), shard, r.Now(), 1)
			require.Error(r, err)
		}
	}},
}

// due returns what is due in all shards.
func (r *rig) due(until time.Time) (all []store.Hint) {
	r.Helper()
	for shard := range store.Shards {
		hints, err := r.Queue.Due(r.Context(), shard, until, 1000)
		require.NoError(r, err)
		all = append(all, hints...)
	}
	return all
}
