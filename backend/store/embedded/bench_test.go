package embedded

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bareFsync measures how long the disk takes to write and sync one page: the
// unit that durable operations are compared with.
func bareFsync(b *testing.B, dir string) time.Duration {
	f, err := os.Create(filepath.Join(dir, "yardstick"))
	require.NoError(b, err)
	defer func() { _ = f.Close() }()
	page := make([]byte, 4096)
	const n = 200
	begin := time.Now()
	for range n {
		_, err := f.Write(page)
		require.NoError(b, err)
		require.NoError(b, f.Sync())
	}
	return time.Since(begin) / n
}

func openBench(b *testing.B) *Store {
	dir := b.TempDir()
	yardstick := bareFsync(b, dir)
	b.Cleanup(func() { b.ReportMetric(float64(yardstick.Microseconds()), "µs/bare-fsync") })
	s := openAt(b, filepath.Join(dir, "streamer.db"), nil)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	return s
}

// benchmark calls run b.N times, from each of the numbers of callers.
func benchmark(b *testing.B, run func(ctx context.Context, s *Store, caller int) error) {
	for _, callers := range []int{1, 64, 1000} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			s := openBench(b)
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for caller := range callers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if !assert.NoError(b, run(b.Context(), s, caller)) {
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

var (
	account = []byte(fmt.Sprintf(`{"account":%q,"rows":[%0200d]}`, "acc-1", 7))
	result  = []byte(fmt.Sprintf(`{"total":%0200d}`, 7))
)

func newRequest(caller int) store.Request {
	id, _ := uuid.NewV7()
	return store.Request{
		Key: store.Key{Tenant: "tenant", ID: id.String()}, Subject: fmt.Sprint("subject-", caller%100), Action: "report.generate",
		Input: account, Hash: store.Hash("report.generate", account), Deadline: time.Now().Add(time.Hour), Connection: id.String(),
	}
}

// newClaimed returns a request that is claimed when it is accepted.
func newClaimed(caller int) store.Request {
	n := newRequest(caller)
	n.Claim = &store.Claimant{}
	return n
}

// BenchmarkAcceptFinish accepts and ends requests, as when a worker is free: two
// durable operations each.
func BenchmarkAcceptFinish(b *testing.B) { acceptFinish(b, newClaimed) }

// BenchmarkRandomIDs is the same with ids that are not ordered by time.
func BenchmarkRandomIDs(b *testing.B) {
	acceptFinish(b, func(caller int) store.Request {
		n := newClaimed(caller)
		n.ID = uuid.NewString()
		return n
	})
}

func acceptFinish(b *testing.B, request func(caller int) store.Request) {
	benchmark(b, func(ctx context.Context, s *Store, caller int) error {
		a, err := s.Accept(ctx, request(caller))
		if err != nil {
			return err
		}
		_, err = s.Finish(ctx, firstFence(a.State.Key), store.Outcome{End: &store.End{Status: store.Succeeded, Payload: result}})
		return err
	})
}

// BenchmarkWholeStream takes requests through all steps: queued, claimed, three
// chunks in one record, a checkpoint, the end, and read once.
func BenchmarkWholeStream(b *testing.B) {
	benchmark(b, func(ctx context.Context, s *Store, caller int) error {
		request := newRequest(caller)
		if _, err := s.Accept(ctx, request); err != nil {
			return err
		}
		if _, err := s.Claim(ctx, request.Key, store.Claimant{}); err != nil {
			return err
		}
		f := firstFence(request.Key)
		g := &store.Segment{First: 2, Last: 4}
		for seq := uint64(2); seq <= 4; seq++ {
			g.Events = append(g.Events, store.Event{Kind: store.Chunk, Seq: seq, Attempt: 1, Data: result})
		}
		if _, err := s.Record(ctx, f, store.Report{Segment: g, Checkpoint: account, CheckpointKeep: 4}); err != nil {
			return err
		}
		if _, err := s.Finish(ctx, f, store.Outcome{End: &store.End{Status: store.Succeeded, Payload: result}}); err != nil {
			return err
		}
		_, _, err := s.Read(ctx, request.Key, 0, 96<<10)
		return err
	})
}
