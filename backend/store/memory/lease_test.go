package memory_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/stretchr/testify/require"
)

// testLease checks that a claimed request is leased after the step hold, and
// that it is due and can be taken over after the step end.
func testLease(t *testing.T, by store.Claimant, hold, end func(s *memory.Store, f store.Fence)) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(nil)
		n := store.Request{Key: store.Key{Tenant: "t", ID: "id"}, Subject: "s", Action: "a", Deadline: time.Now().Add(100 * time.Hour)}
		_, err := s.Accept(t.Context(), n)
		require.NoError(t, err)
		w, err := s.Claim(t.Context(), n.Key, by)
		require.NoError(t, err)
		require.Equal(t, by.Lease > 0, w.State.Due.Equal(store.TruncateMillis(time.Now().Add(by.Lease))))
		due := func() int {
			hints, err := s.Due(t.Context(), store.ShardOf(n.Key, store.DefaultShards), time.Now(), 1)
			require.NoError(t, err)
			return len(hints)
		}
		f := store.Fence{Key: n.Key, Fence: 1, Lease: by.Lease}
		hold(s, f)
		_, err = s.Claim(t.Context(), n.Key, by)
		require.ErrorIs(t, err, store.ErrLeased)
		require.Zero(t, due())
		end(s, f)
		require.Equal(t, 1, due())
		w, err = s.Claim(t.Context(), n.Key, by)
		require.NoError(t, err)
		require.Equal(t, 1, w.State.CrashCount)
	})
}

// TestLeases checks that a lease which was renewed expires by the clock.
func TestLeases(t *testing.T) {
	testLease(t, store.Claimant{Lease: time.Minute, Quarantine: true}, func(s *memory.Store, f store.Fence) {
		time.Sleep(40 * time.Second)
		_, err := s.Record(t.Context(), f, store.Report{})
		require.NoError(t, err)
		time.Sleep(40 * time.Second)
	}, func(*memory.Store, store.Fence) { time.Sleep(20 * time.Second) })
}

// TestLeaseOfZero checks that a lease of zero is valid, whatever the time,
// until VoidLeases ends it.
func TestLeaseOfZero(t *testing.T) {
	testLease(t, store.Claimant{}, func(*memory.Store, store.Fence) { time.Sleep(99 * time.Hour) },
		func(s *memory.Store, _ store.Fence) { s.VoidLeases() })
}

// TestExpireDeletes checks that Expire deletes everything that has expired.
func TestExpireDeletes(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	s := memory.New(&memory.Options{Now: func() time.Time { return now }})
	ctx := t.Context()
	until := now.Add(time.Minute)
	for i := range 10 {
		require.NoError(t, s.PutConnection(ctx, store.Connection{Tenant: "t", ID: fmt.Sprint(i), Expires: until}))
	}
	require.NoError(t, s.PutConnection(ctx, store.Connection{Tenant: "t", ID: "stays"}))
	require.Equal(t, 11, s.ConnectionCount())
	now = until
	_, err := s.Expire(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, 1, s.ConnectionCount())
}
