package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// roleTests are about optional roles; a store without one is told so.
var roleTests = []test{
	{"Retainer deletes what has expired", func(r *rig) {
		q := role[store.Retainer](r)
		if q == nil {
			return
		}
		for i := range 7 {
			s := r.accept(born, func(n *store.New) { n.IdempotencyKey = fmt.Sprint(i) })
			s = r.record(s, store.Report{Segment: segment(s, "a"), Checkpoint: []byte("x"), CheckpointKeep: 2})
			r.finish(s, succeeded(`1`))
		}
		r.Advance(time.Second)
		late := r.finish(r.accept(born), succeeded(`1`))
		queued := r.accept(func(n *store.New) { n.Deadline = r.Now().Add(10 * r.Retention) })
		running := r.emit(r.accept(born), "a")
		r.Advance(r.Retention - time.Second)
		for _, want := range []int{3, 3, 1, 0} {
			n, err := q.Expire(r.Context(), 3)
			require.NoError(r, err)
			require.Equal(r, want, n)
		}
		for _, s := range []store.State{late, queued, running} {
			r.state(s.Key)
		}
		r.Advance(time.Second)
		n, err := q.Expire(r.Context(), 100)
		require.NoError(r, err)
		require.Equal(r, 1, n)
		r.finish(running, succeeded(`1`))
	}},
	{"Retainer deletes a long stream", func(r *rig) {
		q := role[store.Retainer](r)
		if q == nil {
			return
		}
		n := r.ask(born)
		a, err := r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		s := a.State
		for range 450 {
			s = r.emit(s, "x")
		}
		r.finish(s, succeeded(`1`))
		r.Advance(r.Retention)
		gone, err := q.Expire(r.Context(), 10)
		require.NoError(r, err)
		require.Equal(r, 1, gone)
		a, err = r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		require.True(r, a.Fresh)
		r.emit(a.State, "new")
		require.Equal(r, "1ack 2:new@1", show(r.events(n.Key, 0)))
	}},
	{"Operator lists dead letters of all tenants", func(r *rig) {
		q := role[store.Operator](r)
		if q == nil {
			return
		}
		dead := failed("poisoned")
		dead.End.Dead = true
		var want []string
		for i := range 7 {
			r.Advance(time.Second)
			s := r.finish(r.accept(born, func(n *store.New) { n.Tenant = fmt.Sprint("tenant", i%3) }), dead)
			want = append(want, s.ID)
			r.finish(r.accept(born), failed("boom"))
		}
		slices.Reverse(want)
		for _, limit := range []int{1, 2, 3, 6, 7, 8, 0} {
			var got []string
			for cursor, first := "", true; first || cursor != ""; first = false {
				page, next, err := q.DeadLetters(r.Context(), limit, cursor)
				require.NoError(r, err)
				for i := range page {
					require.True(r, page[i].Dead)
				}
				got, cursor = append(got, ids(page)...), next
			}
			require.Equal(r, want, got, limit)
		}
		_, _, err := q.DeadLetters(r.Context(), 1, "nonsense")
		require.ErrorIs(r, err, store.ErrCursor)
		r.Advance(r.Retention)
		page, _, err := q.DeadLetters(r.Context(), 10, "")
		require.NoError(r, err)
		require.Empty(r, page)
	}},
	{"Operator reads what was asked", func(r *rig) {
		q := role[store.Operator](r)
		if q == nil {
			return
		}
		s := r.accept(func(n *store.New) { n.Metadata = []byte(`{"m":1}`) })
		for range 2 {
			input, metadata, err := q.Input(r.Context(), s.Key)
			require.NoError(r, err)
			require.Equal(r, `{"a":1}`, string(input))
			require.Equal(r, `{"m":1}`, string(metadata))
			s = r.finish(r.claim(s.Key).State, store.Outcome{Code: "x"})
		}
		_, _, err := q.Input(r.Context(), store.Key{Tenant: "another", ID: s.ID})
		require.ErrorIs(r, err, store.ErrNotFound)
		r.finish(r.claim(s.Key).State, succeeded(`1`))
		r.Advance(r.Retention)
		_, _, err = q.Input(r.Context(), s.Key)
		require.ErrorIs(r, err, store.ErrNotFound)
	}},
	{"Abandoner knows what ends without followers", func(r *rig) {
		q := role[store.Abandoner](r)
		if q == nil {
			return
		}
		var want []store.Key
		for i := range 9 {
			change := func(n *store.New) { n.Tenant, n.CancelAfter = fmt.Sprint("t", i%2), new(time.Minute) }
			s := r.accept(change)
			switch i % 3 {
			case 0:
				r.claim(s.Key)
			case 1:
				_, err := r.Queue.Cancel(r.Context(), s.Key, subject)
				require.NoError(r, err)
				continue
			}
			want = append(want, s.Key)
			r.accept()
		}
		slices.SortFunc(want, func(a, b store.Key) int {
			if a.Tenant != b.Tenant {
				return compareText(a.Tenant, b.Tenant)
			}
			return compareText(a.ID, b.ID)
		})
		for _, max := range []int{1, 2, 5, 100} {
			var got []store.Key
			for after := (store.Key{}); ; after = got[len(got)-1] {
				page, err := q.Abandonable(r.Context(), after, max)
				require.NoError(r, err)
				require.LessOrEqual(r, len(page), max)
				for _, h := range page {
					require.Equal(r, time.Minute, *h.CancelAfter)
					got = append(got, h.Key)
				}
				if len(page) < max {
					break
				}
			}
			require.Equal(r, want, got, max)
		}
	}},
	{"Checker says yes", func(r *rig) {
		if q := role[store.Checker](r); q != nil {
			require.NoError(r, q.Check(r.Context()))
		}
	}},
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// role returns the store in a role, or nil, which is logged.
func role[R comparable](r *rig) (q R) {
	q, ok := r.Queue.(R)
	if !ok {
		r.Logf("the store does not play %T", (*R)(nil))
	}
	return q
}
