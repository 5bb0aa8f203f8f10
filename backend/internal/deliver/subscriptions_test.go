package deliver

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/storetest"
	"github.com/stretchr/testify/require"
)

func TestSubscriptionStore(t *testing.T) {
	storetest.RunSubscriptions(t, func(*testing.T) *storetest.SubscriptionFixture {
		clock := storetest.NewClock()
		return &storetest.SubscriptionFixture{Store: NewSubscriptions(clock.Now), Now: clock.Now, Advance: clock.Advance}
	})
}

// follow adds a subscription to the stream s.
func follow(t testing.TB, s *Subscriptions, sub store.Subscription) {
	sub.Tenant, sub.Stream = "t", "s"
	_, err := s.Subscribe(t.Context(), sub)
	require.NoError(t, err)
}

// requireSize checks how many subscriptions are held, expired or not, in both
// indexes.
func requireSize(t *testing.T, want int, s *Subscriptions) {
	byStream, byConnection := 0, 0
	for i := range s.byStream {
		for _, a := range s.byStream[i].audiences {
			byStream += len(a.subscriptions)
		}
	}
	for i := range s.byConnections {
		for _, streams := range s.byConnections[i].streams {
			byConnection += len(streams)
		}
	}
	require.Equal(t, want, byStream)
	require.Equal(t, want, byConnection)
}

// TestSubscribersAllocatesNothing looks that asking who follows a stream
// allocates nothing while its subscriptions do not change.
func TestSubscribersAllocatesNothing(t *testing.T) {
	s := NewSubscriptions(nil)
	for i := range 100 {
		follow(t, s, store.Subscription{Connection: fmt.Sprint(i)})
	}
	ctx := t.Context()
	for _, stream := range []string{"s", "unknown"} {
		require.Zero(t, testing.AllocsPerRun(100, func() {
			_, _ = s.Subscribers(ctx, "t", stream)
		}), stream)
	}
}

// TestSharedAudience changes the subscriptions of a stream while others read
// what they were given.
func TestSharedAudience(t *testing.T) {
	s := NewSubscriptions(nil)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 200 {
				connection := fmt.Sprint(i, "-", j%10)
				_, _ = s.Subscribe(t.Context(), store.Subscription{Tenant: "t", Stream: "s", Connection: connection, Live: j%2 == 0})
				all, _ := s.Subscribers(t.Context(), "t", "s")
				for k := range all {
					_ = all[k].Live
				}
				if j%3 == 0 {
					_, _ = s.Drop(t.Context(), "t", connection)
				}
				if j%7 == 0 {
					_, _ = s.End(t.Context(), "t", "s")
				}
			}
		})
	}
	wg.Wait()
	for i := range 4 {
		for j := range 10 {
			_, _ = s.Drop(t.Context(), "t", fmt.Sprint(i, "-", j))
		}
	}
	requireSize(t, 0, s)
}

// TestNothingIsLeftOfExpired looks that expired subscriptions are not returned,
// and that nothing is left of them once their connections have gone.
func TestNothingIsLeftOfExpired(t *testing.T) {
	clock := storetest.NewClock()
	s, ctx := NewSubscriptions(clock.Now), t.Context()
	until := clock.Now().Add(time.Minute)
	for i := range 10 {
		follow(t, s, store.Subscription{Connection: fmt.Sprint(i), Expires: until})
	}
	follow(t, s, store.Subscription{Connection: "stays"})
	requireSize(t, 11, s)
	clock.Advance(time.Minute)
	all, err := s.Subscribers(ctx, "t", "s")
	require.NoError(t, err)
	require.Len(t, all, 1)
	for i := range 10 {
		dropped, err := s.Drop(ctx, "t", fmt.Sprint(i))
		require.NoError(t, err)
		require.Empty(t, dropped)
	}
	requireSize(t, 1, s)
}

// TestNothingIsLeftOfEnded looks that nothing is left of live subscriptions to a
// stream that has ended.
func TestNothingIsLeftOfEnded(t *testing.T) {
	s := NewSubscriptions(nil)
	for i := range 10 {
		follow(t, s, store.Subscription{Connection: fmt.Sprint(i), Live: i > 0})
	}
	ended, err := s.End(t.Context(), "t", "s")
	require.NoError(t, err)
	require.Len(t, ended, 9)
	requireSize(t, 1, s)
	require.Equal(t, 1, s.Count(Address{Tenant: "t", Connection: "0"}))
	require.Zero(t, s.Count(Address{Tenant: "t", Connection: "1"}))
}

func BenchmarkSubscribers(b *testing.B) {
	for _, n := range []int{0, 1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := NewSubscriptions(nil)
			for i := range n {
				follow(b, s, store.Subscription{Connection: fmt.Sprint(i)})
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _ = s.Subscribers(b.Context(), "t", "s")
				}
			})
		})
	}
}
