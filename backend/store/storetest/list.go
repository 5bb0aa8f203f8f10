package storetest

import (
	"fmt"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

var listTests = []test{
	{"newest first, in pages", func(r *rig) {
		var want []string
		for i := range 25 {
			if i%3 == 0 {
				r.Advance(time.Second) // others share a millisecond
			}
			want = append([]string{r.accept().ID}, want...)
		}
		for _, limit := range []int{1, 2, 7, 24, 25, 26, 100} {
			got := r.list(store.Query{Tenant: tenant, Subject: subject, Limit: limit})
			require.ElementsMatch(r, want, ids(got), limit)
			sorted(r, got)
		}
	}},
	{"a summary says where a request stands", func(r *rig) {
		s := r.emit(r.accept(born, func(n *store.New) { n.RetryOf = "x" }), "a")
		s = r.record(s, store.Report{Progress: &store.Progress{Attempt: 1, Rev: 1, Percent: 40}})
		_, err := r.Queue.Cancel(r.Context(), s.Key, subject)
		require.NoError(r, err)
		s = r.finish(s, failed("boom"))
		got := r.list(store.Query{Tenant: tenant})
		require.Equal(r, []store.Summary{s.Summary()}, got)
		require.Equal(r, 40.0, *got[0].Percent)
	}},
	{"filters", testFilters},
	{"limits", func(r *rig) {
		for range 103 {
			r.accept()
		}
		for limit, want := range map[int]int{0: 50, 1: 1, 100: 100, 1000: 100} {
			page, next, err := r.Queue.List(r.Context(), store.Query{Tenant: tenant, Limit: limit}, "")
			require.NoError(r, err)
			require.Len(r, page, want)
			require.NotEmpty(r, next)
		}
	}},
	{"cursors belong to their filter", func(r *rig) {
		for range 3 {
			r.accept()
		}
		q := store.Query{Tenant: tenant, Subject: subject, Limit: 1}
		_, cursor, err := r.Queue.List(r.Context(), q, "")
		require.NoError(r, err)
		require.NotEmpty(r, cursor)
		for name, bad := range map[string]string{"noise": "!!!", "short": "AAAA", "changed": "A" + cursor[:len(cursor)-1]} {
			_, _, err = r.Queue.List(r.Context(), q, bad)
			require.ErrorIs(r, err, store.ErrCursor, name)
		}
		q.Status = store.Queued
		_, _, err = r.Queue.List(r.Context(), q, cursor)
		require.ErrorIs(r, err, store.ErrCursor)
	}},
	{"a cursor carries nobody through a wall", func(r *rig) {
		for range 3 {
			r.Advance(time.Second)
			r.accept()
		}
		_, cursor, err := r.Queue.List(r.Context(), store.Query{Tenant: tenant, Subject: subject, Limit: 1}, "")
		require.NoError(r, err)
		page, _, err := r.Queue.List(r.Context(), store.Query{Tenant: tenant, Subject: "another"}, cursor)
		require.NoError(r, err)
		require.Empty(r, page)
		page, _, err = r.Queue.List(r.Context(), store.Query{Tenant: "another"}, cursor)
		require.NoError(r, err)
		require.Empty(r, page)
	}},
	{"pages stand still while others write", func(r *rig) {
		var want []string
		var states []store.State
		for range 20 {
			r.Advance(time.Millisecond)
			s := r.accept()
			states = append(states, s)
			want = append([]string{s.ID}, want...)
		}
		var got []string
		for cursor, first := "", true; first || cursor != ""; first = false {
			page, next, err := r.Queue.List(r.Context(), store.Query{Tenant: tenant, Limit: 3}, cursor)
			require.NoError(r, err)
			got = append(got, ids(page)...)
			cursor = next
			r.Advance(time.Millisecond)
			r.accept()
			r.claim(states[0].Key)
			states = states[1:]
		}
		require.Equal(r, want, got)
	}},
	{"what has expired is not listed", func(r *rig) {
		r.finish(r.accept(born), succeeded(`1`))
		r.Advance(r.Retention - time.Second)
		last := r.finish(r.accept(born), succeeded(`1`))
		r.Advance(time.Second)
		require.Equal(r, []string{last.ID}, ids(r.list(store.Query{Tenant: tenant})))
	}},
	{"what few pass is found behind many who do not", func(r *rig) {
		var want []string
		for i := range 1300 {
			if i%600 == 0 {
				r.Advance(time.Millisecond)
				s := r.accept(func(n *store.New) { n.Action = "rare" })
				want = append([]string{s.ID}, want...)
			}
			r.accept()
		}
		for _, limit := range []int{1, 2, 3, 50} {
			got := r.list(store.Query{Tenant: tenant, Subject: subject, Action: "rare", Limit: limit})
			require.Equal(r, want, ids(got), limit)
		}
	}},
}

func testFilters(r *rig) {
	other := r.accept(func(n *store.New) { n.Subject = "another" })
	r.Advance(time.Second)
	middle := r.Now()
	act := r.accept(func(n *store.New) { n.Action = "other" })
	running := r.accept(born)
	r.Advance(time.Second)
	late := r.Now()
	done := r.finish(r.accept(born), succeeded(`1`))
	gone, err := r.Queue.Cancel(r.Context(), r.accept().Key, subject)
	require.NoError(r, err)
	for name, c := range map[string]struct {
		q    store.Query
		want []store.State
	}{
		"all":           {store.Query{}, []store.State{other, act, running, done, gone}},
		"subject":       {store.Query{Subject: "another"}, []store.State{other}},
		"status":        {store.Query{Status: store.Running}, []store.State{running}},
		"succeeded":     {store.Query{Status: store.Succeeded, Subject: subject}, []store.State{done}},
		"cancelled":     {store.Query{Status: store.Cancelled}, []store.State{gone}},
		"action":        {store.Query{Action: "other"}, []store.State{act}},
		"both":          {store.Query{Action: "other", Status: store.Running}, nil},
		"from":          {store.Query{From: store.Milli(middle)}, []store.State{act, running, done, gone}},
		"from, behind":  {store.Query{From: store.Milli(middle).Add(time.Nanosecond)}, []store.State{done, gone}},
		"to":            {store.Query{To: store.Milli(late)}, []store.State{other, act, running}},
		"to, behind":    {store.Query{To: store.Milli(middle).Add(time.Nanosecond)}, []store.State{other, act, running}},
		"between":       {store.Query{From: middle.Add(-time.Millisecond), To: late.Add(-time.Millisecond)}, []store.State{act, running}},
		"between, mine": {store.Query{Subject: "another", From: middle, To: late}, nil},
	} {
		var want []string
		for _, s := range c.want {
			want = append(want, s.ID)
		}
		c.q.Tenant = tenant
		for _, limit := range []int{1, 100} {
			c.q.Limit = limit
			got := r.list(c.q)
			require.ElementsMatch(r, want, ids(got), name)
			sorted(r, got)
		}
	}
}

// list returns all pages. Pages may be short: a store may filter after reading.
func (r *rig) list(q store.Query) (all []store.Summary) {
	r.Helper()
	for cursor, first := "", true; first || cursor != ""; first = false {
		page, next, err := r.Queue.List(r.Context(), q, cursor)
		require.NoError(r, err)
		all, cursor = append(all, page...), next
	}
	return all
}

func ids(page []store.Summary) (out []string) {
	for i := range page {
		out = append(out, page[i].ID)
	}
	return out
}

func sorted(r *rig, page []store.Summary) {
	r.Helper()
	for i := 1; i < len(page); i++ {
		a, b := &page[i-1], &page[i]
		require.True(r, b.Accepted.Before(a.Accepted) || b.Accepted.Equal(a.Accepted) && b.ID < a.ID, fmt.Sprint(i))
	}
}
