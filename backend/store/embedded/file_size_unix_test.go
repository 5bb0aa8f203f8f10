//go:build unix

package embedded

import (
	"os/signal"
	"syscall"
	"testing"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// TestFileSizeLimit makes the operating system refuse writes in the middle of a
// commit.
func TestFileSizeLimit(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	setLimit := func(limit syscall.Rlimit) { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)) }
	s := openStore(t, nil)
	defer setLimit(before)
	small := before
	small.Cur = 2 << 20
	setLimit(small)
	kept, err := fill(t, s)
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.Error(t, s.Check(t.Context()))
	setLimit(before)
	for range 100 {
		n := newRequest(0)
		accept(t, s, n)
		kept = append(kept, n.Key)
	}
	require.NoError(t, s.Check(t.Context()))
	for _, k := range kept {
		_, _, err := s.Read(t.Context(), k, 0, 0)
		require.NoError(t, err)
	}
}
