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

// fixture opens a store whose leases expire by the clock.
func fixture(shards int) *storetest.Fixture {
	clock := storetest.NewClock()
	s := memory.New(&memory.Options{Now: clock.Now, Shards: shards})
	return &storetest.Fixture{
		Queue: s, Now: clock.Now, Advance: clock.Advance, Shards: shards,
		VoidLeases: func() store.RequestQueue {
			clock.Advance(storetest.Lease)
			return s
		},
	}
}

// TestRequestQueue runs the suite with leases that expire by the clock.
func TestRequestQueue(t *testing.T) {
	storetest.Run(t, func(*testing.T) *storetest.Fixture { return fixture(0) })
}

// TestRequestQueueOfManyShards runs the suite with another number of shards.
func TestRequestQueueOfManyShards(t *testing.T) {
	storetest.Run(t, func(*testing.T) *storetest.Fixture { return fixture(64) })
}

// TestRequestQueueWithoutLeaseExpiry runs the suite with leases of zero, which
// are valid until VoidLeases is called.
func TestRequestQueueWithoutLeaseExpiry(t *testing.T) {
	storetest.Run(t, func(*testing.T) *storetest.Fixture {
		f := fixture(0)
		s := f.Queue.(*memory.Store)
		f.Queue, f.Reopens = endless{s}, true
		f.VoidLeases = func() store.RequestQueue {
			s.VoidLeases()
			return f.Queue
		}
		return f
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

func TestConnectionStore(t *testing.T) {
	storetest.RunConnections(t, func(*testing.T) *storetest.ConnectionFixture {
		clock := storetest.NewClock()
		return &storetest.ConnectionFixture{
			Store: memory.New(&memory.Options{Now: clock.Now}), Now: clock.Now, Advance: clock.Advance,
		}
	})
}
