package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// SubscriptionFixture is an empty store of subscriptions, with a clock that
// only Advance moves.
type SubscriptionFixture struct {
	Store   store.SubscriptionStore
	Now     func() time.Time
	Advance func(time.Duration)
}

// RunSubscriptions runs the suite against a store of subscriptions.
func RunSubscriptions(t *testing.T, open func(t *testing.T) *SubscriptionFixture) {
	for name, test := range subscriptionTests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func (f *SubscriptionFixture) follow(t *testing.T, tenant, stream, connection string, change ...func(*store.Subscription)) store.Subscription {
	s := store.Subscription{
		Tenant: tenant, Stream: stream, Connection: connection, Subject: subject, Since: store.TruncateMillis(f.Now()), Live: true,
	}
	for _, c := range change {
		c(&s)
	}
	f.subscribe(t, s)
	return s
}

func (f *SubscriptionFixture) subscribe(t *testing.T, s store.Subscription) (added bool) {
	added, err := f.Store.Subscribe(t.Context(), s)
	require.NoError(t, err)
	return added
}

func (f *SubscriptionFixture) unsubscribe(t *testing.T, stream, connection string) (removed bool) {
	removed, err := f.Store.Unsubscribe(t.Context(), tenant, stream, connection)
	require.NoError(t, err)
	return removed
}

// mustGet calls a method that takes a tenant and one more string.
func mustGet[V any](t *testing.T, method func(ctx context.Context, tenant, id string) (V, error), tenant, id string) V {
	got, err := method(t.Context(), tenant, id)
	require.NoError(t, err)
	return got
}

var subscriptionTests = map[string]func(*testing.T, *SubscriptionFixture){
	"one life": func(t *testing.T, f *SubscriptionFixture) {
		require.Empty(t, mustGet(t, f.Store.Subscribers, tenant, "s"))
		s := store.Subscription{Tenant: tenant, Stream: "s", Connection: "c", Subject: subject, Since: store.TruncateMillis(f.Now())}
		for i, live := range []bool{true, false, true} {
			s.Live = live
			require.Equal(t, i == 0, f.subscribe(t, s), "the others replace the first")
			require.Equal(t, []store.Subscription{s}, mustGet(t, f.Store.Subscribers, tenant, "s"))
		}
		for _, want := range []bool{true, false} {
			require.Equal(t, want, f.unsubscribe(t, "s", "c"))
			require.Empty(t, mustGet(t, f.Store.Subscribers, tenant, "s"))
		}
		require.False(t, f.unsubscribe(t, "unknown", "c"))
		require.True(t, f.subscribe(t, s))
	},
	"expiry": func(t *testing.T, f *SubscriptionFixture) {
		until := func(d time.Duration) func(*store.Subscription) {
			return func(s *store.Subscription) { s.Expires = store.TruncateMillis(f.Now().Add(d)) }
		}
		a := f.follow(t, tenant, "s", "a", until(time.Minute))
		b := f.follow(t, tenant, "s", "b", until(2*time.Minute))
		c := f.follow(t, tenant, "s", "c")
		require.Equal(t, []store.Subscription{a, b, c}, mustGet(t, f.Store.Subscribers, tenant, "s"))
		f.Advance(time.Minute)
		require.Equal(t, []store.Subscription{b, c}, mustGet(t, f.Store.Subscribers, tenant, "s"))
		require.False(t, f.unsubscribe(t, "s", "a"))
		f.Advance(time.Minute)
		require.Equal(t, []store.Subscription{c}, mustGet(t, f.Store.Subscribers, tenant, "s"))
		require.True(t, f.subscribe(t, b), "what has expired is not there")
		require.Empty(t, mustGet(t, f.Store.Drop, tenant, "b"))
		f.Advance(1e5 * time.Hour)
		require.Equal(t, []store.Subscription{c}, mustGet(t, f.Store.Subscribers, tenant, "s"), "without an expiry it holds")
	},
	"all ways to ask": func(t *testing.T, f *SubscriptionFixture) {
		byStream, byConnection := map[string][]store.Subscription{}, map[string][]store.Subscription{}
		for i := range 40 {
			f.Advance(time.Millisecond)
			s := f.follow(t, tenant, fmt.Sprint("s", i%5), fmt.Sprint("c", i%8), func(s *store.Subscription) {
				s.Subject = fmt.Sprint("u", i%8%3)
			})
			byStream[s.Stream] = append(byStream[s.Stream], s)
			byConnection[s.Connection] = append(byConnection[s.Connection], s)
		}
		for stream, want := range byStream {
			require.Equal(t, want, mustGet(t, f.Store.Subscribers, tenant, stream), "oldest first")
		}
		for connection, want := range byConnection {
			require.ElementsMatch(t, want, mustGet(t, f.Store.Drop, tenant, connection))
			require.Empty(t, mustGet(t, f.Store.Drop, tenant, connection))
			for stream := range byStream {
				for _, s := range mustGet(t, f.Store.Subscribers, tenant, stream) {
					require.NotEqual(t, connection, s.Connection)
				}
			}
		}
	},
	"tenants are isolated": func(t *testing.T, f *SubscriptionFixture) {
		for i, k := range ambiguousKeys {
			f.follow(t, k[0], k[1], "c", func(s *store.Subscription) { s.Subject = fmt.Sprint(i) })
			f.follow(t, k[0], "stream", k[1]+"-", func(s *store.Subscription) { s.Subject = fmt.Sprint(i) })
		}
		for i, k := range ambiguousKeys {
			got := mustGet(t, f.Store.Subscribers, k[0], k[1])
			require.Len(t, got, 1, "%q", k)
			require.Equal(t, fmt.Sprint(i), got[0].Subject)
			dropped := mustGet(t, f.Store.Drop, k[0], k[1]+"-")
			require.Len(t, dropped, 1, "%q", k)
			require.Equal(t, fmt.Sprint(i), dropped[0].Subject)
			require.Equal(t, got, mustGet(t, f.Store.End, k[0], k[1]), "%q", k)
		}
	},
	"the end": func(t *testing.T, f *SubscriptionFixture) {
		watched := func(s *store.Subscription) { s.Watched = true }
		pages := func(s *store.Subscription) { s.Live = false }
		expires := func(s *store.Subscription) { s.Expires = store.TruncateMillis(f.Now().Add(time.Second)) }
		var live []store.Subscription
		for i := range 5 {
			f.Advance(time.Millisecond)
			live = append(live, f.follow(t, tenant, "s", fmt.Sprint("c", 9-i), watched))
		}
		paging := f.follow(t, tenant, "s", "pages", pages, watched)
		f.Advance(time.Millisecond)
		behind := f.follow(t, tenant, "s", "behind", pages)
		other := f.follow(t, tenant, "other", "c9")
		f.follow(t, tenant, "s", "expired", expires)
		f.Advance(time.Second)
		require.Equal(t, append(slices.Clone(live), paging, behind), mustGet(t, f.Store.Subscribers, tenant, "s"))
		require.Empty(t, mustGet(t, f.Store.End, "another", "s"))
		require.Equal(t, live, mustGet(t, f.Store.End, tenant, "s"), "oldest first")
		require.Equal(t, []store.Subscription{paging, behind}, mustGet(t, f.Store.Subscribers, tenant, "s"))
		require.Equal(t, []store.Subscription{other}, mustGet(t, f.Store.Subscribers, tenant, "other"))
		for _, stream := range []string{"s", "unknown"} {
			require.Empty(t, mustGet(t, f.Store.End, tenant, stream))
		}
		for connection, want := range map[string][]store.Subscription{"c9": {other}, "c8": nil, "pages": {paging}} {
			require.ElementsMatch(t, want, mustGet(t, f.Store.Drop, tenant, connection))
		}
		behind.Live = true
		require.False(t, f.subscribe(t, behind))
		require.Equal(t, []store.Subscription{behind}, mustGet(t, f.Store.End, tenant, "s"), "once it is live")
	},
	"a pause": func(t *testing.T, f *SubscriptionFixture) {
		ctx := t.Context()
		require.NoError(t, f.Store.Pause(ctx, tenant, "s", "c"))
		require.Empty(t, mustGet(t, f.Store.Subscribers, tenant, "s"), "a pause subscribes no connection")
		s, other := f.follow(t, tenant, "s", "c"), f.follow(t, tenant, "s", "d")
		for range 2 {
			require.NoError(t, f.Store.Pause(ctx, tenant, "s", "c"))
			s.Live = false
			require.Equal(t, []store.Subscription{s, other}, mustGet(t, f.Store.Subscribers, tenant, "s"))
		}
		require.NoError(t, f.Store.Pause(ctx, "another tenant", "s", "d"))
		require.Equal(t, []store.Subscription{s, other}, mustGet(t, f.Store.Subscribers, tenant, "s"))
		ended, err := f.Store.End(ctx, tenant, "s")
		require.NoError(t, err)
		require.Equal(t, []store.Subscription{other}, ended)
	},
	"at once": func(t *testing.T, f *SubscriptionFixture) {
		atOnce(func(i int) {
			connection := fmt.Sprint("c", i)
			for j := range 50 {
				for k := range 3 {
					s := store.Subscription{Tenant: tenant, Stream: fmt.Sprint("s", k), Connection: connection, Since: f.Now()}
					_, err := f.Store.Subscribe(t.Context(), s)
					assert.NoError(t, err)
				}
				_, err := f.Store.Subscribers(t.Context(), tenant, fmt.Sprint("s", j%3))
				assert.NoError(t, err)
				_, err = f.Store.Unsubscribe(t.Context(), tenant, "s1", connection)
				assert.NoError(t, err)
				dropped, err := f.Store.Drop(t.Context(), tenant, connection)
				assert.NoError(t, err)
				assert.Len(t, dropped, 2)
			}
		})
		for k := range 3 {
			require.Empty(t, mustGet(t, f.Store.Subscribers, tenant, fmt.Sprint("s", k)))
		}
	},
}
