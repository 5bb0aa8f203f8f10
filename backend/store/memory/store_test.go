package memory_test

import (
	"testing"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/pay-theory/streamer/backend/store/storetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRequestQueue(t *testing.T) {
	storetest.Run(t, func(*testing.T) *storetest.Fixture {
		clock := storetest.NewClock()
		s := memory.New(&memory.Options{Now: clock.Now})
		return &storetest.Fixture{
			Queue: s, Now: clock.Now, Advance: clock.Advance,
			VoidLeases: func() store.RequestQueue {
				clock.Advance(storetest.Lease)
				return s
			},
		}
	})
}

func TestConnectionStore(t *testing.T) {
	storetest.RunConnections(t, func(*testing.T) *storetest.ConnectionFixture {
		clock := storetest.NewClock()
		return &storetest.ConnectionFixture{
			Store: memory.New(&memory.Options{Now: clock.Now}), Now: clock.Now, Advance: clock.Advance,
		}
	})
}

func TestSubscriptionStore(t *testing.T) {
	storetest.RunSubscriptions(t, func(*testing.T) *storetest.SubscriptionFixture {
		clock := storetest.NewClock()
		return &storetest.SubscriptionFixture{
			Store: memory.New(&memory.Options{Now: clock.Now}), Now: clock.Now, Advance: clock.Advance,
		}
	})
}
