package queues

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/servers"
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
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := servers.Start(t.Context(), kind, dir, o)
	switch {
	case errors.Is(err, servers.ErrMissing):
		t.Skipf("SKIPPED: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("it did not stop in good order: %v", err)
		}
	})
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
				if _, err := Run(t.Context(), queue, server, d, false); err != nil {
					t.Fatalf("%T, closed loop: %v", queue, err)
				}
				d = driver(100)
				d.Rate, d.SinceSent = 200, true
				m, err := Run(t.Context(), queue, server, d, true)
				if err != nil || m.Calls() != 20 || m.Latency.Quantile(0.5) <= 0 {
					t.Errorf("%T, open loop: %v; %v of 20 jobs were picked up", queue, err, m.Calls())
				}
			}
		})
	}
}

// A server that has gone ends the load with an error.
func TestServerGone(t *testing.T) {
	server := start(t, servers.NATS, servers.Options{})
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), &JetStream{}, server, driver(1), false); err == nil {
		t.Error("a load on a server that is gone ends without an error")
	}
}
