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

func newRequest(id string) store.Request {
	return store.Request{Key: store.Key{Tenant: "t", ID: id}, Subject: "s", Action: "a", Deadline: time.Now().Add(time.Hour)}
}

// TestLeases runs a store with the clock of a synctest bubble.
func TestLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(nil)
		n := newRequest("id")
		n.Deadline = time.Now().Add(time.Hour)
		_, err := s.Accept(t.Context(), n)
		require.NoError(t, err)
		by := store.Claimant{Lease: time.Minute, Quarantine: true}
		w, err := s.Claim(t.Context(), n.Key, by)
		require.NoError(t, err)
		require.Equal(t, store.TruncateMillis(time.Now().Add(time.Minute)), w.State.Due)

		time.Sleep(40 * time.Second)
		_, err = s.Record(t.Context(), store.Fence{Key: n.Key, Fence: 1, Lease: time.Minute}, store.Report{})
		require.NoError(t, err)
		time.Sleep(40 * time.Second)
		_, err = s.Claim(t.Context(), n.Key, by)
		require.ErrorIs(t, err, store.ErrLeased)
		hints, err := s.Due(t.Context(), store.ShardOf(n.Key, store.DefaultShards), time.Now(), 1)
		require.NoError(t, err)
		require.Empty(t, hints)
		time.Sleep(20 * time.Second)
		hints, err = s.Due(t.Context(), store.ShardOf(n.Key, store.DefaultShards), time.Now(), 1)
		require.NoError(t, err)
		require.Len(t, hints, 1)
		w, err = s.Claim(t.Context(), n.Key, by)
		require.NoError(t, err)
		require.Equal(t, 1, w.State.CrashCount)
	})
}

// TestLeaseOfZero checks that a lease of zero is valid, whatever the time,
// until VoidLeases ends it.
func TestLeaseOfZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(nil)
		n := newRequest("id")
		n.Deadline = time.Now().Add(100 * time.Hour)
		_, err := s.Accept(t.Context(), n)
		require.NoError(t, err)
		_, err = s.Claim(t.Context(), n.Key, store.Claimant{})
		require.NoError(t, err)
		time.Sleep(99 * time.Hour)
		_, err = s.Claim(t.Context(), n.Key, store.Claimant{})
		require.ErrorIs(t, err, store.ErrLeased)
		hints, err := s.Due(t.Context(), store.ShardOf(n.Key, store.DefaultShards), time.Now(), 1)
		require.NoError(t, err)
		require.Empty(t, hints)

		s.VoidLeases()
		hints, err = s.Due(t.Context(), store.ShardOf(n.Key, store.DefaultShards), time.Now(), 1)
		require.NoError(t, err)
		require.Len(t, hints, 1)
		w, err := s.Claim(t.Context(), n.Key, store.Claimant{})
		require.NoError(t, err)
		require.Equal(t, 1, w.State.CrashCount)
	})
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
