package embedded_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/backend/store/storetest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		child(role)
		return
	}
	goleak.VerifyTestMain(m)
}

// fixture opens a store in a file of its own.
func fixture(t *testing.T) *storetest.Fixture {
	clock := storetest.NewClock()
	path := filepath.Join(t.TempDir(), "streamer.db")
	var s *embedded.Store
	open := func() store.RequestQueue {
		var err error
		s, err = embedded.Open(path, &embedded.Options{Now: clock.Now})
		require.NoError(t, err)
		return s
	}
	open()
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return &storetest.Fixture{
		Queue: s, Now: clock.Now, Advance: clock.Advance, Reopens: true,
		VoidLeases: func() store.RequestQueue {
			require.NoError(t, s.Close())
			return open()
		},
	}
}

func TestRequestQueue(t *testing.T) { storetest.Run(t, fixture) }
