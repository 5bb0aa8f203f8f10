package storetest

import (
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
	t.Helper()
	s := store.Subscription{
		Tenant: tenant, Stream: stream, Connection: connection, Subject: subject, Since: store.Milli(f.Now()), Live: true,
	}
	for _, c := range change {
		c(&s)
	}
	_, err := f.Store.Subscribe(t.Context(), s)
	require.NoError(t, err)
	return s
}

func (f *SubscriptionFixture) subscribers(t *testing.T, tenant, stream string) []store.Subscription {
	t.Helper()
	got, err := f.Store.Subscribers(t.Context(), tenant, stream)
	require.NoError(t, err)
	return got
}

func testSubscriptionLife(t *testing.T, f *SubscriptionFixture) {
	ctx := t.Context()
	require.Empty(t, f.subscribers(t, tenant, "s"))
	s := store.Subscription{Tenant: tenant, Stream: "s", Connection: "c", Subject: subject, Since: store.Milli(f.Now())}
	for i, live := range []bool{true, false, true} {
		s.Live = live
		added, err := f.Store.Subscribe(ctx, s)
		require.NoError(t, err)
		require.Equal(t, i == 0, added, "the others replace the first")
		require.Equal(t, []store.Subscription{s}, f.subscribers(t, tenant, "s"))
	}
	for _, want := range []bool{true, false} {
		removed, err := f.Store.Unsubscribe(ctx, tenant, "s", "c")
		require.NoError(t, err)
		require.Equal(t, want, removed)
		require.Empty(t, f.subscribers(t, tenant, "s"))
	}
	removed, err := f.Store.Unsubscribe(ctx, tenant, "unknown", "c")
	require.NoError(t, err)
	require.False(t, removed)
	added, err := f.Store.Subscribe(ctx, s)
	require.NoError(t, err)
	require.True(t, added)
}

func testSubscriptionExpiry(t *testing.T, f *SubscriptionFixture) {
	ctx := t.Context()
	until := func(d time.Duration) func(*store.Subscription) {
		return func(s *store.Subscription) { s.Expires = store.Milli(f.Now().Add(d)) }
	}
	a := f.follow(t, tenant, "s", "a", until(time.Minute))
	b := f.follow(t, tenant, "s", "b", until(2*time.Minute))
	c := f.follow(t, tenant, "s", "c")
	require.Equal(t, []store.Subscription{a, b, c}, f.subscribers(t, tenant, "s"))
	f.Advance(time.Minute)
	require.Equal(t, []store.Subscription{b, c}, f.subscribers(t, tenant, "s"))
	got, err := f.Store.Subscriptions(ctx, tenant, "a")
	require.NoError(t, err)
	require.Empty(t, got)
	got, err = f.Store.SubscriptionsOf(ctx, tenant, subject)
	require.NoError(t, err)
	require.Equal(t, []store.Subscription{b, c}, got)
	removed, err := f.Store.Unsubscribe(ctx, tenant, "s", "a")
	require.NoError(t, err)
	require.False(t, removed)
	f.Advance(time.Minute)
	require.Equal(t, []store.Subscription{c}, f.subscribers(t, tenant, "s"))
	added, err := f.Store.Subscribe(ctx, b)
	require.NoError(t, err)
	require.True(t, added, "what has expired is not there")
	got, err = f.Store.Drop(ctx, tenant, "b")
	require.NoError(t, err)
	require.Empty(t, got)
	f.Advance(1e5 * time.Hour)
	require.Equal(t, []store.Subscription{c}, f.subscribers(t, tenant, "s"), "without an expiry it holds")
}

func testSubscriptionQueries(t *testing.T, f *SubscriptionFixture) {
	ctx := t.Context()
	byStream, byConnection := map[string][]store.Subscription{}, map[string][]store.Subscription{}
	bySubject := map[string][]store.Subscription{}
	for i := range 40 {
		f.Advance(time.Millisecond)
		s := f.follow(t, tenant, fmt.Sprint("s", i%5), fmt.Sprint("c", i%8), func(s *store.Subscription) {
			s.Subject = fmt.Sprint("u", i%8%3)
		})
		byStream[s.Stream] = append(byStream[s.Stream], s)
		byConnection[s.Connection] = append(byConnection[s.Connection], s)
		bySubject[s.Subject] = append(bySubject[s.Subject], s)
	}
	for stream, want := range byStream {
		require.Equal(t, want, f.subscribers(t, tenant, stream), "oldest first")
	}
	for connection, want := range byConnection {
		got, err := f.Store.Subscriptions(ctx, tenant, connection)
		require.NoError(t, err)
		require.ElementsMatch(t, want, got)
	}
	for subject, want := range bySubject {
		got, err := f.Store.SubscriptionsOf(ctx, tenant, subject)
		require.NoError(t, err)
		require.ElementsMatch(t, want, got)
	}
	dropped, err := f.Store.Drop(ctx, tenant, "c3")
	require.NoError(t, err)
	require.ElementsMatch(t, byConnection["c3"], dropped)
	dropped, err = f.Store.Drop(ctx, tenant, "c3")
	require.NoError(t, err)
	require.Empty(t, dropped)
	for stream := range byStream {
		for _, s := range f.subscribers(t, tenant, stream) {
			require.NotEqual(t, "c3", s.Connection)
		}
	}
	got, err := f.Store.Subscriptions(ctx, tenant, "c3")
	require.NoError(t, err)
	require.Empty(t, got)
}

func testSubscriptionIsolation(t *testing.T, f *SubscriptionFixture) {
	for i, k := range ambiguousKeys {
		f.follow(t, k[0], k[1], "c", func(s *store.Subscription) { s.Subject = fmt.Sprint(i) })
		f.follow(t, k[0], "stream", k[1]+"-", func(s *store.Subscription) { s.Subject = fmt.Sprint(i) })
	}
	for i, k := range ambiguousKeys {
		got := f.subscribers(t, k[0], k[1])
		require.Len(t, got, 1, "%q", k)
		require.Equal(t, fmt.Sprint(i), got[0].Subject)
		dropped, err := f.Store.Drop(t.Context(), k[0], k[1]+"-")
		require.NoError(t, err)
		require.Len(t, dropped, 1, "%q", k)
		require.Equal(t, fmt.Sprint(i), dropped[0].Subject)
		all, err := f.Store.SubscriptionsOf(t.Context(), k[0], fmt.Sprint(i))
		require.NoError(t, err)
		require.Len(t, all, 1)
	}
}

func testSubscriptionsAtOnce(t *testing.T, f *SubscriptionFixture) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			connection := fmt.Sprint("c", i)
			for j := range 50 {
				for k := range 3 {
					_, err := f.Store.Subscribe(t.Context(), store.Subscription{
						Tenant: tenant, Stream: fmt.Sprint("s", k), Connection: connection, Subject: subject, Since: f.Now(),
					})
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
		require.Empty(t, f.subscribers(t, tenant, fmt.Sprint("s", k)))
	}
}
