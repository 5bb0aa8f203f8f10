package memory_test

import (
	"context"
	"testing"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/pay-theory/streamer/backend/store/storetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRequestQueue runs the suite with leases that expire by the clock.
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

// TestRequestQueueWithoutLeaseExpiry runs the suite with leases of zero, which
// are valid until VoidLeases is called.
func TestRequestQueueWithoutLeaseExpiry(t *testing.T) {
	storetest.Run(t, func(*testing.T) *storetest.Fixture {
		clock := storetest.NewClock()
		s := memory.New(&memory.Options{Now: clock.Now})
		return &storetest.Fixture{
			Queue: endless{s}, Now: clock.Now, Advance: clock.Advance, Reopens: true,
			VoidLeases: func() store.RequestQueue {
				s.VoidLeases()
				return endless{s}
			},
		}
	})
}

// endless claims and renews with leases of zero.
type endless struct{ *memory.Store }

func (e endless) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	if n.Claim != nil {
		by := *n.Claim
		by.Lease = 0
		n.Claim = &by
	}
	return e.Store.Accept(ctx, n)
}

func (e endless) Claim(ctx context.Context, key store.Key, by store.Claimant) (store.ClaimedRequest, error) {
	by.Lease = 0
	return e.Store.Claim(ctx, key, by)
}

func (e endless) Record(ctx context.Context, f store.Fence, r store.Report) (store.State, error) {
	f.Lease = 0
	return e.Store.Record(ctx, f, r)
}

// TestRequestQueueOfManyShards runs the suite with another number of shards.
func TestRequestQueueOfManyShards(t *testing.T) {
	storetest.Run(t, func(*testing.T) *storetest.Fixture {
		clock := storetest.NewClock()
		s := memory.New(&memory.Options{Now: clock.Now, Shards: 64})
		return &storetest.Fixture{
			Queue: s, Now: clock.Now, Advance: clock.Advance, Shards: 64,
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
