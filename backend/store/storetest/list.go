package storetest

import (
	"cmp"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

var listCases = []Case{
	{"newest first, in pages", func(r *rig) {
		var want []string
		for i := range 25 {
			if i%3 == 0 {
				r.Advance(time.Second) // others share a millisecond
			}
			want = append([]string{r.accept().ID}, want...)
		}
		for _, limit := range []int{1, 2, 7, 24, 25, 26, 100} {
			r.requireList(store.Query{Tenant: tenant, Subject: subject, Limit: limit}, want, limit)
		}
	}},
	{"a summary has the newest state", func(r *rig) {
		s := r.recordChunks(r.accept(claimed, func(n *store.Request) { n.RetryOf = "x" }), "a")
		s = r.record(s, store.Report{Progress: &store.Progress{Attempt: 1, Rev: 1, Percent: 40}})
		r.cancel(s.Key)
		s = r.finish(s, failed("boom"))
		got := r.listAll(store.Query{Tenant: tenant})
		require.Equal(r, []store.Summary{s.Summary()}, got)
		require.Equal(r, 40.0, *got[0].Percent)
	}},
	{"filters", func(r *rig) {
		other := r.accept(func(n *store.Request) { n.Subject = "another" }).ID
		r.Advance(time.Second)
		middle := r.Now()
		act := r.accept(func(n *store.Request) { n.Action = "other" }).ID
		running := r.accept(claimed).ID
		r.Advance(time.Second)
		late := r.Now()
		done := r.finish(r.accept(claimed), succeeded(`1`)).ID
		gone := r.cancel(r.accept().Key).ID
		for name, c := range map[string]struct {
			q    store.Query
			want []string
		}{
			"all":           {store.Query{}, []string{other, act, running, done, gone}},
			"subject":       {store.Query{Subject: "another"}, []string{other}},
			"status":        {store.Query{Status: store.Running}, []string{running}},
			"succeeded":     {store.Query{Status: store.Succeeded, Subject: subject}, []string{done}},
			"cancelled":     {store.Query{Status: store.Cancelled}, []string{gone}},
			"action":        {store.Query{Action: "other"}, []string{act}},
			"both":          {store.Query{Action: "other", Status: store.Running}, nil},
			"from":          {store.Query{From: store.TruncateMillis(middle)}, []string{act, running, done, gone}},
			"from, behind":  {store.Query{From: store.TruncateMillis(middle).Add(time.Nanosecond)}, []string{done, gone}},
			"to":            {store.Query{To: store.TruncateMillis(late)}, []string{other, act, running}},
			"to, behind":    {store.Query{To: store.TruncateMillis(middle).Add(time.Nanosecond)}, []string{other, act, running}},
			"between":       {store.Query{From: middle.Add(-time.Millisecond), To: late.Add(-time.Millisecond)}, []string{act, running}},
			"between, mine": {store.Query{Subject: "another", From: middle, To: late}, nil},
		} {
			c.q.Tenant = tenant
			for _, limit := range []int{1, 100} {
				c.q.Limit = limit
				r.requireList(c.q, c.want, name)
			}
		}
	}},
	{"limits", func(r *rig) {
		for range 103 {
			r.accept()
		}
		for limit, want := range map[int]int{0: 50, 1: 1, 100: 100, 1000: 100} {
			page, next := r.listPage(store.Query{Tenant: tenant, Limit: limit}, "")
			require.Len(r, page, want)
			require.NotEmpty(r, next)
		}
	}},
	{"cursors belong to their filter", func(r *rig) {
		for range 3 {
			r.accept()
		}
		q := store.Query{Tenant: tenant, Subject: subject, Limit: 1}
		_, cursor := r.listPage(q, "")
		require.NotEmpty(r, cursor)
		refuse := func(cursor, name string) {
			_, _, err := r.Queue.List(r.Context(), q, cursor)
			require.ErrorIs(r, err, store.ErrCursor, name)
		}
		refuse("!!!", "noise")
		refuse("AAAA", "short")
		refuse("A"+cursor[:len(cursor)-1], "changed")
		q.Status = store.Queued
		refuse(cursor, "another filter")
	}},
	{"a cursor does not reach other tenants or subjects", func(r *rig) {
		for range 3 {
			r.Advance(time.Second)
			r.accept()
		}
		_, cursor := r.listPage(store.Query{Tenant: tenant, Subject: subject, Limit: 1}, "")
		for _, q := range []store.Query{{Tenant: tenant, Subject: "another"}, {Tenant: "another"}} {
			page, _ := r.listPage(q, cursor)
			require.Empty(r, page)
		}
	}},
	{"pages are stable while others write", func(r *rig) {
		var want []string
		var states []store.State
		for range 20 {
			r.Advance(time.Millisecond)
			s := r.accept()
			states = append(states, s)
			want = append([]string{s.ID}, want...)
		}
		got := pages(r, func(cursor string) ([]store.Summary, string, error) {
			r.Advance(time.Millisecond)
			if cursor != "" {
				r.accept()
				r.claim(states[0].Key)
				states = states[1:]
			}
			return r.Queue.List(r.Context(), store.Query{Tenant: tenant, Limit: 3}, cursor)
		})
		require.Equal(r, want, requestIDs(got))
	}},
	{"an expired request is not listed", func(r *rig) {
		r.finish(r.accept(claimed), succeeded(`1`))
		r.Advance(r.Retention - time.Second)
		last := r.finish(r.accept(claimed), succeeded(`1`))
		r.Advance(time.Second)
		require.Equal(r, []string{last.ID}, requestIDs(r.listAll(store.Query{Tenant: tenant})))
	}},
	{"a rare match is found after many others", func(r *rig) {
		var want []string
		for i := range 1300 {
			if i%600 == 0 {
				r.Advance(time.Millisecond)
				s := r.accept(func(n *store.Request) { n.Action = "rare" })
				want = append([]string{s.ID}, want...)
			}
			r.accept()
		}
		for _, limit := range []int{1, 2, 3, 50} {
			got := r.listAll(store.Query{Tenant: tenant, Subject: subject, Action: "rare", Limit: limit})
			require.Equal(r, want, requestIDs(got), limit)
		}
	}},
}

func (r *rig) listPage(q store.Query, cursor string) (page []store.Summary, next string) {
	page, next, err := r.Queue.List(r.Context(), q, cursor)
	require.NoError(r, err)
	return page, next
}

// listAll returns all pages.
func (r *rig) listAll(q store.Query) []store.Summary {
	return pages(r, func(cursor string) ([]store.Summary, string, error) { return r.Queue.List(r.Context(), q, cursor) })
}

func requestIDs(page []store.Summary) (out []string) {
	for i := range page {
		out = append(out, page[i].ID)
	}
	return out
}

// requireList requires that a query finds these ids, newest first.
func (r *rig) requireList(q store.Query, want []string, hint any) {
	got := r.listAll(q)
	require.ElementsMatch(r, want, requestIDs(got), hint)
	require.True(r, slices.IsSortedFunc(got, func(a, b store.Summary) int {
		return cmp.Or(b.Accepted.Compare(a.Accepted), cmp.Compare(b.ID, a.ID))
	}), hint)
}
