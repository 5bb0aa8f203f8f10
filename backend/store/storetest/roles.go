package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// roleCases test the optional interfaces.
var roleCases = []Case{
	{"Retainer deletes expired requests", withRole(func(r *rig, q store.Retainer) {
		for i := range 7 {
			s := r.accept(claimed, func(n *store.Request) { n.IdempotencyKey = fmt.Sprint(i) })
			s = r.record(s, store.Report{Segment: segment(s, "a"), Checkpoint: []byte("x"), CheckpointKeep: 2})
			r.finish(s, succeeded(`1`))
		}
		r.Advance(time.Second)
		late := r.finish(r.accept(claimed), succeeded(`1`))
		queued := r.accept(func(n *store.Request) { n.Deadline = r.Now().Add(10 * r.Retention) })
		running := r.recordChunks(r.accept(claimed), "a")
		r.Advance(r.Retention - time.Second)
		for _, want := range []int{3, 3, 1, 0} {
			r.requireExpired(q, 3, want)
		}
		for _, s := range []store.State{late, queued, running} {
			r.state(s.Key)
		}
		r.Advance(time.Second)
		r.requireExpired(q, 100, 1)
		r.finish(running, succeeded(`1`))
	})},
	{"Retainer deletes a long stream", withRole(func(r *rig, q store.Retainer) {
		n := r.newRequest(claimed)
		s := r.submitFresh(n)
		for range 450 {
			s = r.recordChunks(s, "x")
		}
		r.finish(s, succeeded(`1`))
		r.Advance(r.Retention)
		r.requireExpired(q, 10, 1)
		r.recordChunks(r.submitFresh(n), "new")
		r.requireEvents(n.Key, 0, "1ack 2:new@1")
	})},
	{"Operator lists dead letters of all tenants", withRole(func(r *rig, q store.Operator) {
		var want []string
		for i := range 7 {
			r.Advance(time.Second)
			s := r.finish(r.accept(claimed, func(n *store.Request) { n.Tenant = fmt.Sprint("tenant", i%3) }), deadLetter())
			want = append(want, s.ID)
			r.finish(r.accept(claimed), failed("boom"))
		}
		slices.Reverse(want)
		for _, limit := range []int{1, 2, 3, 6, 7, 8, 0} {
			got := pages(r, func(cursor string) ([]store.Summary, string, error) {
				return q.DeadLetters(r.Context(), limit, cursor)
			})
			for i := range got {
				require.True(r, got[i].DeadLetter)
			}
			require.Equal(r, want, requestIDs(got), limit)
		}
		_, _, err := q.DeadLetters(r.Context(), 1, "nonsense")
		require.ErrorIs(r, err, store.ErrCursor)
		r.Advance(r.Retention)
		page, _, err := q.DeadLetters(r.Context(), 10, "")
		require.NoError(r, err)
		require.Empty(r, page)
	})},
	{"Operator reads the input", withRole(func(r *rig, q store.Operator) {
		s := r.accept(func(n *store.Request) { n.Metadata = []byte(`{"m":1}`) })
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
	})},
	{"Checker returns nil", withRole(func(r *rig, q store.Checker) {
		require.NoError(r, q.Check(r.Context()))
	})},
}

// requireExpired requires that Expire deletes this many requests.
func (r *rig) requireExpired(q store.Retainer, limit, want int) {
	n, err := q.Expire(r.Context(), limit)
	require.NoError(r, err)
	require.Equal(r, want, n)
}

// withRole returns the body of a case about an optional interface. A store that
// does not implement it passes; that is logged.
func withRole[R any](run func(r *rig, q R)) func(*rig) {
	return func(r *rig) {
		if q, ok := r.Queue.(R); ok {
			run(r, q)
		} else {
			r.Logf("the store does not implement %T", (*R)(nil))
		}
	}
}
