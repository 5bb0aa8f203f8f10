package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// TestMayExist checks that the filter reports each request that exists, also
// after the file was opened again, and few others.
func TestMayExist(t *testing.T) {
	path := filepath.Join(t.TempDir(), "streamer.db")
	s := openAt(t, path, nil)
	for _, name := range []string{path, path + "-wal"} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, "payloads are nobody else's to read: %s", name)
	}
	key := func(n int) store.Key { return store.Key{Tenant: "acme", ID: fmt.Sprint(n)} }
	for n := range 200 {
		request := newRequest(0)
		request.Key = key(n)
		accept(t, s, request)
	}
	for range 2 {
		wrong := 0
		for n := range 10_000 {
			if n < 200 {
				require.True(t, s.MayExist(key(n)))
			} else if s.MayExist(key(n)) {
				wrong++
			}
		}
		require.Less(t, wrong, 10)
		require.False(t, s.MayExist(store.Key{Tenant: "other", ID: "1"}))
		require.NoError(t, s.Close())
		s = openAt(t, path, nil)
	}
	require.NoError(t, s.Close())
}

// TestIDFilterGrows checks that the filter grows with its keys, so that false
// positives stay rare, and not beyond its bound.
func TestIDFilterGrows(t *testing.T) {
	s := newIDFilter(0)
	key := func(n int) store.Key { return store.Key{Tenant: "acme", ID: strconv.Itoa(n)} }
	const keys = 5 * filterMinKeys
	for n := range keys {
		s.insert(key(n))
		s.insert(key(n)) // the second time it uses no capacity
	}
	wrong, bits := 0, 0
	for n := range 100_000 {
		require.True(t, s.contains(key(n*(keys/100_000))))
		if s.contains(key(keys + n)) {
			wrong++
		}
	}
	require.Less(t, wrong, 1000, "one in a hundred at most")
	for _, l := range *s.layers.Load() {
		bits += len(l.bits) * 64
	}
	require.Equal(t, 8*filterMinKeys*filterBitsPerKey, bits)

	require.Len(t, *newIDFilter(filterMinKeys + 1).layers.Load(), 1)
	full := newIDFilter(filterMaxKeys)
	(*full.layers.Load())[0].remaining.Store(1)
	full.insert(key(1))
	full.insert(key(2))
	require.Len(t, *full.layers.Load(), 1, "64 MiB are all")
	require.True(t, full.contains(key(2)))
}
