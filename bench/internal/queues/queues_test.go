package queues

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/servers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain is also the main of the servers that the tests start.
func TestMain(m *testing.M) {
	servers.Main()
	goleak.VerifyTestMain(m)
}

// start starts a server, and skips the test by name where it is not installed.
func start(t *testing.T, kind servers.Kind, o servers.Options) *servers.Server {
	t.Helper()
	// A server may have to run as another user, who must be able to come here.
	dir, err := os.MkdirTemp("", "queues-test-") //nolint:usetesting // t.TempDir is closed to other users
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := servers.Start(t.Context(), kind, dir, o)
	if errors.Is(err, servers.ErrMissing) {
		t.Skipf("SKIPPED: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Stop(), "it must stop in good order") })
	return s
}

func driver(slots int) *load.Driver {
	return &load.Driver{Slots: slots, Measure: 100 * time.Millisecond, Meter: func() load.Used { return load.Used{} }}
}

// Each queue completes what it is given, in both loops, and may be opened again.
func TestQueues(t *testing.T) {
	for _, q := range []struct {
		name   string
		kind   servers.Kind
		o      servers.Options
		queues []Queue
	}{
		{"River", servers.Postgres, servers.Options{}, []Queue{&River{}, &River{Batches: true}}},
		{"Asynq", servers.Redis, servers.Options{EverySecond: true}, []Queue{&Asynq{}}},
		{"JetStream", servers.NATS, servers.Options{}, []Queue{&JetStream{}}},
	} {
		t.Run(q.name, func(t *testing.T) {
			server := start(t, q.kind, q.o)
			for _, queue := range q.queues {
				d := driver(8)
				d.Calls = 50
				_, err := Run(t.Context(), queue, server, d, false)
				require.NoError(t, err, "%T, closed loop", queue)
				d = driver(100)
				d.Rate, d.SinceSent = 200, true
				m, err := Run(t.Context(), queue, server, d, true)
				require.NoError(t, err, "%T, open loop", queue)
				assert.Equal(t, 20, m.Latency.Count(), "%T, jobs that were picked up", queue)
				assert.Positive(t, m.Latency.Quantile(0.5), "%T", queue)
			}
		})
	}
}

// A server that has gone ends the load with an error.
func TestServerGone(t *testing.T) {
	server := start(t, servers.NATS, servers.Options{})
	require.NoError(t, server.Stop())
	_, err := Run(t.Context(), &JetStream{}, server, driver(1), false)
	assert.Error(t, err)
}
