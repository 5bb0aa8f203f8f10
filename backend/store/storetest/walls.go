package storetest

import (
	"fmt"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// twins are tenants and ids, or subjects and actions, that a store would take
// for one another if it joined them without care.
var twins = [][2]string{
	{"a", "b#c"},
	{"a#b", "c"},
	{"a", "b\x00c"},
	{"a\x00b", "c"},
	{"a", "b/c"},
	{"a/b", "c"},
	{"a", "b:c"},
	{"a:b", "c"},
	{"a", "b|c"},
	{"a|b", "c"},
	{"", "abc"},
	{"a", "bc"},
	{"ab", "c"},
	{"abc", ""},
	{"a\x00", ""},
	{"a", "\x00"},
	{"é", "x"},
	{"e\u0301", "x"},
	{"É", "x"},
	{"a%", "b"},
	{"a_", "b"},
	{"a'", "b"},
	{"A", "B"},
	{"日本", "語"},
	{"日", "本語"},
	{"\U0001F600", "y"},
	{" a", "b"},
	{"a ", "b"},
}

var wallTests = []test{
	{"tenants and ids are walls", func(r *rig) {
		var all []store.State
		for i, k := range twins {
			n := r.ask(func(n *store.New) {
				n.Tenant, n.ID, n.Claim, n.Input = k[0], k[1], &worker, []byte(fmt.Sprint(i))
			})
			a, err := r.Queue.Accept(r.Context(), n)
			require.NoError(r, err, "%q", k)
			require.True(r, a.Fresh, "%q", k)
			all = append(all, r.emit(a.State, fmt.Sprint("chunk", i)))
		}
		for i, s := range all {
			require.Equal(r, fmt.Sprintf("1ack 2:chunk%d@1", i), show(r.events(s.Key, 0)))
			require.Equal(r, []string{s.ID}, idsIn(r.list(store.Query{Tenant: s.Tenant}), s.ID), "%q", s.Tenant)
			for _, got := range r.list(store.Query{Tenant: s.Tenant}) {
				require.Equal(r, s.Tenant, got.Tenant)
			}
			o := succeeded(fmt.Sprint(i))
			require.Equal(r, s.Key, r.finish(s, o).Key)
		}
		for i, s := range all {
			require.Equal(r, fmt.Sprintf("2:chunk%d@1 3result=%d", i, i), show(r.events(s.Key, 1)))
		}
	}},
	{"subjects and actions are doors for idempotency keys", func(r *rig) {
		seen := map[string]bool{}
		for _, k := range twins {
			for _, n := range []store.New{
				r.ask(func(n *store.New) { n.Subject, n.Action, n.IdempotencyKey = k[0], k[1], "k" }),
				r.ask(func(n *store.New) { n.Subject, n.Action, n.IdempotencyKey = k[0], action, "k"+k[1] }),
				r.ask(func(n *store.New) { n.Action, n.IdempotencyKey = "x"+k[0], "k"+k[1] }),
			} {
				name := fmt.Sprintf("%q %q %q", n.Subject, n.Action, n.IdempotencyKey)
				a, err := r.Queue.Accept(r.Context(), n)
				require.NoError(r, err, name)
				require.Equal(r, !seen[name], a.Fresh, name)
				seen[name] = true
			}
		}
	}},
	{"subjects are doors for lists and cancels", func(r *rig) {
		var all []store.State
		for i, k := range twins {
			all = append(all, r.accept(func(n *store.New) { n.Subject = k[0] + "-" + k[1]; n.Action = fmt.Sprint("a", i) }))
		}
		for _, s := range all {
			for _, got := range r.list(store.Query{Tenant: tenant, Subject: s.Subject}) {
				require.Equal(r, s.Subject, got.Subject)
			}
			for _, other := range all {
				if other.Subject == s.Subject {
					continue
				}
				_, err := r.Queue.Cancel(r.Context(), s.Key, other.Subject)
				require.ErrorIs(r, err, store.ErrNotFound)
			}
		}
	}},
	{"remembered cancels go through no wall", func(r *rig) {
		for i, k := range twins {
			n := r.ask(func(n *store.New) { n.Tenant, n.Subject = "t"+k[0], "s"+k[1] })
			for j, other := range twins {
				if i != j {
					_, err := r.Queue.Cancel(r.Context(), store.Key{Tenant: "t" + other[0], ID: n.ID}, "s"+other[1])
					require.ErrorIs(r, err, store.ErrNotFound)
				}
			}
			a, err := r.Queue.Accept(r.Context(), n)
			require.NoError(r, err)
			require.Equal(r, store.Queued, a.State.Status, "%q", k)
		}
	}},
	{"one id in two tenants is two calls", func(r *rig) {
		n := r.ask()
		_, err := r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		n.Tenant, n.Subject = "another", "else"
		a, err := r.Queue.Accept(r.Context(), n)
		require.NoError(r, err)
		require.True(r, a.Fresh)
	}},
}

func idsIn(page []store.Summary, id string) (out []string) {
	for i := range page {
		if page[i].ID == id {
			out = append(out, id)
		}
	}
	return out
}
