package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/peer"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

// TestMain is also the main of the servers that the tests start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == peer.Subcommand {
		if err := peer.Serve(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// start starts a server, and skips the test by name where it is not installed.
func start(t *testing.T, kind peer.Kind, o peer.Options) *peer.Peer {
	t.Helper()
	// A server may have to run as another user, who must be able to come here.
	dir, err := os.MkdirTemp("", "jobs-test-") //nolint:usetesting // t.TempDir is closed to other users
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "data"), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var missing *peer.MissingError
	p, err := peer.Start(context.WithoutCancel(t.Context()), kind, filepath.Join(dir, "data"), o)
	switch {
	case errors.As(err, &missing):
		t.Skipf("SKIPPED: %v", missing)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("it did not stop in good order: %v", err)
		}
	})
	return p
}

var queues = []struct {
	name   string
	kind   peer.Kind
	o      peer.Options
	queues []Queue
}{
	{"River", peer.Postgres, peer.Options{}, []Queue{&River{}, &River{Batches: true}, &River{Told: true}}},
	{"Asynq", peer.Redis, peer.Options{EverySecond: true}, []Queue{&Asynq{}}},
	{"JetStream", peer.NATS, peer.Options{}, []Queue{&JetStream{}}},
}

// Each queue works off what it is given, in both loops, and may be opened again.
func TestQueues(t *testing.T) {
	for _, q := range queues {
		t.Run(q.name, func(t *testing.T) {
			server := start(t, q.kind, q.o)
			for _, queue := range q.queues {
				closed := Closed{
					Queue: queue, Server: server, InFlight: 8, Warm: 10 * time.Millisecond, Measure: 100 * time.Millisecond,
					Meter: func() (load.Used, error) {
						used, err := server.CPU()
						return load.Used{Server: used}, err
					},
				}
				if r, ok := queue.(*River); ok && r.Told {
					closed.Measure = time.Second // it takes 250 ms at best
				}
				for range 2 {
					m, err := closed.Run(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if m.Calls == 0 || m.Ack.Count() != m.Calls || m.WirePerCall() < 200 {
						t.Errorf("%d jobs, %d stored, %.0f bytes each", m.Calls, m.Ack.Count(), m.WirePerCall())
					}
					t.Logf("%T: %.0f a second", queue, m.Rate())
				}
				open := Open{Queue: queue, Server: server, Rate: 200, Measure: 100 * time.Millisecond}
				h, err := open.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if n := h.Count(); n != 20 || h.Quantile(0.5) <= 0 || h.Max() > 5*time.Second {
					t.Errorf("%d of 20 jobs were picked up, within %v", n, h.Max())
				}
			}
		})
	}
}

// A server that dies ends the load with an error.
func TestServerDies(t *testing.T) {
	server := start(t, peer.NATS, peer.Options{})
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	closed := Closed{Queue: &JetStream{}, Server: server, InFlight: 1, Measure: time.Minute}
	if _, err := closed.Run(t.Context()); err == nil {
		t.Error("a load on a server that is gone ends without an error")
	}
}

func TestSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slot := rapid.IntRange(0, 1e6).Draw(t, "slot")
		space := rapid.SampledFrom([]string{"", " "}).Draw(t, "space")
		text := fmt.Sprintf(`{"order": {"amount": 7},"slot":%s%d}`, space, slot)
		if got, err := slotOf([]byte(text)); err != nil || got != slot {
			t.Fatalf("%s has slot %d, %v", text, got, err)
		}
	})
	for _, text := range []string{``, `{}`, `{"slot":}`, `{"slot":"1"}`} {
		if got, err := slotOf([]byte(text)); err == nil {
			t.Errorf("%q has slot %d", text, got)
		}
	}
}

// What waits while a batch is inserted goes in together, and everybody is told
// how it went.
func TestBatches(t *testing.T) {
	begun, release := make(chan int, 10), make(chan struct{})
	failed := errors.New("full")
	b := newBatcher(func(_ context.Context, jobs []*Job) error {
		begun <- len(jobs)
		<-release
		if len(jobs) > 1 {
			return failed
		}
		return nil
	})
	told := make(chan error, 7)
	submit := func(slot int) { go func() { told <- b.submit(t.Context(), &Job{Slot: slot}) }() }
	for slot := range batchesAt {
		submit(slot)
		if n := <-begun; n != 1 {
			t.Fatalf("a job alone is a batch of %d", n)
		}
	}
	for slot := range 5 {
		b.queue <- &waiting{&Job{Slot: slot}, told}
	}
	release <- struct{}{}
	if n := <-begun; n != 5 {
		t.Errorf("5 jobs that waited are a batch of %d", n)
	}
	close(release)
	fives := 0
	for range batchesAt + 5 {
		if errors.Is(<-told, failed) {
			fives++
		}
	}
	if fives != 5 {
		t.Errorf("%d of 5 were told of the failure", fives)
	}
	b.close()
	if err := b.submit(t.Context(), &Job{}); err == nil {
		t.Error("a closed batcher takes a job")
	}
}
