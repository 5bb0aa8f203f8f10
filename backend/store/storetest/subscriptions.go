package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// SubscriptionFixture is an empty store of subscriptions, with a clock that
// stands still.
type SubscriptionFixture struct {
	Store   store.SubscriptionStore
	Now     func() time.Time
	Advance func(time.Duration)
}

// RunSubscriptions runs the suite against a store of subscriptions.
func RunSubscriptions(t *testing.T, open func(t *testing.T) *SubscriptionFixture) {
	for name, test := range map[string]func(*testing.T, *SubscriptionFixture){
		"one life":             testSubscriptionLife,
		"expiry":               testSubscriptionExpiry,
		"all ways to ask":      testSubscriptionQueries,
		"tenants are isolated": testSubscriptionIsolation,
		"at once":              testSubscriptionsAtOnce,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func (f *SubscriptionFixture) follow(t *testing.T, tenant, stream, connection string, change ...func(*store.Subscription)) store.Subscription {
	s := store.Subscription{
		Tenant: tenant, Stream: stream, Connection: connection, Subject: subject, Since: store.Milli(f.Now()), Live: true,
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

// get calls a method that takes a tenant and one more string.
func get[V any](t *testing.T, method func(ctx context.Context, tenant, id string) (V, error), tenant, id string) V {
	got, err := method(t.Context(), tenant, id)
	require.NoError(t, err)
	return got
}

func testSubscriptionLife(t *testing.T, f *SubscriptionFixture) {
	require.Empty(t, get(t, f.Store.Subscribers, tenant, "s"))
	s := store.Subscription{Tenant: tenant, Stream: "s", Connection: "c", Subject: subject, Since: store.Milli(f.Now())}
	for i, live := range []bool{true, false, true} {
		s.Live = live
		require.Equal(t, i == 0, f.subscribe(t, s), "the others replace the first")
		require.Equal(t, []store.Subscription{s}, get(t, f.Store.Subscribers, tenant, "s"))
	}
	for _, want := range []bool{true, false} {
		require.Equal(t, want, f.unsubscribe(t, "s", "c"))
		require.Empty(t, get(t, f.Store.Subscribers, tenant, "s"))
	}
	require.False(t, f.unsubscribe(t, "unknown", "c"))
	require.True(t, f.subscribe(t, s))
}

func testSubscriptionExpiry(t *testing.T, f *SubscriptionFixture) {
	until := func(d time.Duration) func(*store.Subscription) {
		return func(s *store.Subscription) { s.Expires = store.Milli(f.Now().Add(d)) }
	}
	a := f.follow(t, tenant, "s", "a", until(time.Minute))
	b := f.follow(t, tenant, "s", "b", until(2*time.Minute))
	c := f.follow(t, tenant, "s", "c")
	require.Equal(t, []store.Subscription{a, b, c}, get(t, f.Store.Subscribers, tenant, "s"))
	f.Advance(time.Minute)
	require.Equal(t, []store.Subscription{b, c}, get(t, f.Store.Subscribers, tenant, "s"))
	require.Empty(t, get(t, f.Store.Subscriptions, tenant, "a"))
	require.Equal(t, []store.Subscription{b, c}, get(t, f.Store.SubscriptionsOf, tenant, subject))
	require.False(t, f.unsubscribe(t, "s", "a"))
	f.Advance(time.Minute)
	require.Equal(t, []store.Subscription{c}, get(t, f.Store.Subscribers, tenant, "s"))
	require.True(t, f.subscribe(t, b), "what has expired is not there")
	require.Empty(t, get(t, f.Store.Drop, tenant, "b"))
	f.Advance(1e5 * time.Hour)
	require.Equal(t, []store.Subscription{c}, get(t, f.Store.Subscribers, tenant, "s"), "without an expiry it holds")
}

func testSubscriptionQueries(t *testing.T, f *SubscriptionFixture) {
	all := map[string][]store.Subscription{} // by stream, connection and subject
	for i := range 40 {
		f.Advance(time.Millisecond)
		s := f.follow(t, tenant, fmt.Sprint("s", i%5), fmt.Sprint("c", i%8), func(s *store.Subscription) {
			s.Subject = fmt.Sprint("u", i%8%3)
		})
		for _, key := range []string{s.Stream, s.Connection, s.Subject} {
			all[key] = append(all[key], s)
		}
	}
	for key, want := range all {
		switch key[0] {
		case 's':
			require.Equal(t, want, get(t, f.Store.Subscribers, tenant, key), "oldest first")
		case 'c':
			require.ElementsMatch(t, want, get(t, f.Store.Subscriptions, tenant, key))
		case 'u':
			require.ElementsMatch(t, want, get(t, f.Store.SubscriptionsOf, tenant, key))
		}
	}
	require.ElementsMatch(t, all["c3"], get(t, f.Store.Drop, tenant, "c3"))
	require.Empty(t, get(t, f.Store.Drop, tenant, "c3"))
	for i := range 5 {
		for _, s := range get(t, f.Store.Subscribers, tenant, fmt.Sprint("s", i)) {
			require.NotEqual(t, "c3", s.Connection)
		}
	}
	require.Empty(t, get(t, f.Store.Subscriptions, tenant, "c3"))
}

func testSubscriptionIsolation(t *testing.T, f *SubscriptionFixture) {
	for i, k := range ambiguousKeys {
		f.follow(t, k[0], k[1], "c", func(s *store.Subscription) { s.Subject = fmt.Sprint(i) })
		f.follow(t, k[0], "stream", k[1]+"-", func(s *store.Subscription) { s.Subject = fmt.Sprint(i) })
	}
	for i, k := range ambiguousKeys {
		got := get(t, f.Store.Subscribers, k[0], k[1])
		require.Len(t, got, 1, "%q", k)
		require.Equal(t, fmt.Sprint(i), got[0].Subject)
		dropped := get(t, f.Store.Drop, k[0], k[1]+"-")
		require.Len(t, dropped, 1, "%q", k)
		require.Equal(t, fmt.Sprint(i), dropped[0].Subject)
		require.Len(t, get(t, f.Store.SubscriptionsOf, k[0], fmt.Sprint(i)), 1)
	}
}

func testSubscriptionsAtOnce(t *testing.T, f *SubscriptionFixture) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
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
	}
	wg.Wait()
	for k := range 3 {
		require.Empty(t, get(t, f.Store.Subscribers, tenant, fmt.Sprint("s", k)))
	}
}
