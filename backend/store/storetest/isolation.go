package storetest

import (
	"fmt"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// ambiguousKeys are tenants and ids, or subjects and actions, that are equal if
// a store joins them without a separator.
var ambiguousKeys = [][2]string{
	{"a", "b#c"}, {"a#b", "c"}, {"a", "b\x00c"}, {"a\x00b", "c"}, {"a", "b/c"}, {"a/b", "c"},
	{"a", "b:c"}, {"a:b", "c"}, {"a", "b|c"}, {"a|b", "c"},
	{"", "abc"}, {"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"a\x00", ""}, {"a", "\x00"},
	{"é", "x"}, {"e\u0301", "x"}, {"É", "x"}, {"a%", "b"}, {"a_", "b"}, {"a'", "b"}, {"A", "B"},
	{"日本", "語"}, {"日", "本語"}, {"\U0001F600", "y"}, {" a", "b"}, {"a ", "b"},
}

var isolationCases = []Case{
	{"tenants and ids are kept apart", func(r *rig) {
		var all []store.State
		for i, k := range ambiguousKeys {
			n := r.newRequest(func(n *store.Request) {
				n.Tenant, n.ID, n.Claim, n.Input = k[0], k[1], &worker, []byte(fmt.Sprint(i))
			})
			all = append(all, r.recordChunks(r.submitFresh(n, "%q", k), fmt.Sprint("chunk", i)))
		}
		for i, s := range all {
			r.requireEvents(s.Key, 0, fmt.Sprintf("1ack 2:chunk%d@1", i))
			found := 0
			for _, got := range r.listAll(store.Query{Tenant: s.Tenant}) {
				require.Equal(r, s.Tenant, got.Tenant)
				if got.ID == s.ID {
					found++
				}
			}
			require.Equal(r, 1, found, "%q", s.Key)
			require.Equal(r, s.Key, r.finish(s, succeeded(fmt.Sprint(i))).Key)
		}
		for i, s := range all {
			r.requireEvents(s.Key, 1, fmt.Sprintf("2:chunk%d@1 3result=%d", i, i))
		}
	}},
	{"idempotency keys belong to a subject and an action", func(r *rig) {
		seen := map[string]bool{}
		for _, k := range ambiguousKeys {
			for _, n := range []store.Request{
				r.newRequest(func(n *store.Request) { n.Subject, n.Action, n.IdempotencyKey = k[0], k[1], "k" }),
				r.newRequest(func(n *store.Request) { n.Subject, n.Action, n.IdempotencyKey = k[0], action, "k"+k[1] }),
				r.newRequest(func(n *store.Request) { n.Action, n.IdempotencyKey = "x"+k[0], "k"+k[1] }),
			} {
				name := fmt.Sprintf("%q %q %q", n.Subject, n.Action, n.IdempotencyKey)
				a, err := r.Queue.Accept(r.Context(), n)
				require.NoError(r, err, name)
				require.Equal(r, !seen[name], a.Fresh, name)
				seen[name] = true
			}
		}
	}},
	{"lists and cancels stay within a subject", func(r *rig) {
		var all []store.State
		for i, k := range ambiguousKeys {
			all = append(all, r.accept(func(n *store.Request) { n.Subject = k[0] + "-" + k[1]; n.Action = fmt.Sprint("a", i) }))
		}
		for _, s := range all {
			for _, got := range r.listAll(store.Query{Tenant: tenant, Subject: s.Subject}) {
				require.Equal(r, s.Subject, got.Subject)
			}
			for _, other := range all {
				if other.Subject != s.Subject {
					r.refuseCancel(s.Key, other.Subject, store.ErrNotFound)
				}
			}
		}
	}},
	{"lists of a subject stay within a tenant", func(r *rig) {
		want := map[string]string{}
		for _, in := range []string{"a", tenant, "z"} {
			want[in] = r.accept(func(n *store.Request) { n.Tenant = in }).ID
		}
		for in, id := range want {
			for _, q := range []store.Query{{Tenant: in}, {Tenant: in, Subject: subject}} {
				got := r.listAll(q)
				require.Len(r, got, 1, "%+v", q)
				require.Equal(r, id, got[0].ID)
			}
		}
	}},
	{"remembered cancels stay within a tenant and a subject", func(r *rig) {
		for i, k := range ambiguousKeys {
			n := r.newRequest(func(n *store.Request) { n.Tenant, n.Subject = "t"+k[0], "s"+k[1] })
			for j, other := range ambiguousKeys {
				if i != j {
					r.refuseCancel(store.Key{Tenant: "t" + other[0], ID: n.ID}, "s"+other[1], store.ErrNotFound)
				}
			}
			require.Equal(r, store.Queued, r.submitFresh(n).Status, "%q", k)
		}
	}},
	{"one id in two tenants is two calls", func(r *rig) {
		n := r.newRequest()
		r.submitFresh(n)
		n.Tenant, n.Subject = "another", "else"
		r.submitFresh(n)
	}},
}
