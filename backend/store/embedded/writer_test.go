package embedded

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/pay-theory/streamer/backend/store/storetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFailuresInBatch puts many operations into one transaction: refusals, and
// an operation that fails after it wrote, do not affect the others.
func TestFailuresInBatch(t *testing.T) {
	s := openStore(t, nil)
	known := newRequest(0)
	accept(t, s, known)
	conflict := known
	conflict.Subject = "another"

	held := holdWriter(s, func() { _, _ = s.Accept(t.Context(), newRequest(0)) })
	var fresh []store.Key
	for i := range 20 { // they become the next batch
		n := newRequest(i)
		fresh = append(fresh, n.Key)
		held.add(func() {
			a, err := s.Accept(t.Context(), n)
			assert.NoError(t, err)
			assert.True(t, a.Fresh)
		})
		switch i {
		case 3:
			held.add(func() {
				_, err := s.Accept(t.Context(), conflict)
				assert.ErrorIs(t, err, store.ErrConflict)
			})
		case 7:
			held.add(func() { assert.ErrorIs(t, runFailingOp(s), errBad) })
		case 11:
			held.add(func() {
				_, err := s.Claim(t.Context(), store.Key{Tenant: "x", ID: "y"}, store.Claimant{})
				assert.ErrorIs(t, err, store.ErrNotFound)
			})
		}
	}
	held.release()
	require.Equal(t, "0", execSQL(t, s, "SELECT count(*) FROM meta WHERE name = 'bad'"), "the failed operation was rolled back")
	for _, k := range fresh {
		_, events, err := s.Read(t.Context(), k, 0, 1)
		require.NoError(t, err)
		require.Len(t, events, 1)
	}
}

// TestStaleCache changes the states in the writer's cache: the file decides.
func TestStaleCache(t *testing.T) {
	s := openStore(t, nil)
	n := newClaimed(0)
	first := accept(t, s, n)
	_, err := s.Record(t.Context(), firstFence(n.Key), store.Report{Progress: &store.Progress{Attempt: 1, Rev: 1}})
	require.NoError(t, err)
	for k, e := range s.writer.cache {
		stale := *e
		stale.state.LastSeq += 100
		s.writer.cache[k] = &stale
	}
	_, err = s.Finish(t.Context(), firstFence(n.Key), succeeded)
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.Equal(t, first.LastSeq+1, finish(t, s, n.Key, succeeded).LastSeq)
}

// TestWithoutCache runs the model with a cache that is cleared before each
// operation.
func TestWithoutCache(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds, with the race detector a minute")
	}
	storetest.RunModel(t, func(t *testing.T) *storetest.Fixture {
		f := fixture(t)
		f.Queue = withoutCache(f.Queue)
		void := f.VoidLeases
		f.VoidLeases = func() store.RequestQueue { return withoutCache(void()) }
		return f
	})
}

// withoutCache returns the store with a cache that is cleared before each
// operation that uses it.
func withoutCache(queue store.RequestQueue) store.RequestQueue {
	s := queue.(*Store)
	return faultstore.New(s, faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		switch op {
		case faultstore.Claim, faultstore.Record, faultstore.Finish, faultstore.Watch, faultstore.CancelUnsubscribed:
			s.writeLock.Lock()
			clear(s.writer.cache)
			s.writeLock.Unlock()
		}
		return nil
	}})
}

func TestCancelledContext(t *testing.T) {
	s := openStore(t, nil)
	n, later := newRequest(0), newRequest(1)
	ctx, cancel := context.WithCancel(t.Context())
	held := holdWriter(s, func() {
		_, err := s.Accept(ctx, n)
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, store.ErrUnavailable, "it may have had its effect")
	})
	held.add(func() {
		_, err := s.Accept(ctx, later)
		assert.ErrorIs(t, err, context.Canceled)
		assert.NotErrorIs(t, err, store.ErrUnavailable, "it had no effect, and never will")
	})
	cancel()
	held.callers.Wait()
	held.release()

	accept(t, s, newClaimed(2)) // it does not run before an earlier operation
	require.Zero(t, s.callers.Load())
	_, _, err := s.Read(t.Context(), n.Key, 0, 0)
	require.NoError(t, err)
	_, _, err = s.Read(t.Context(), later.Key, 0, 0)
	require.ErrorIs(t, err, store.ErrNotFound)
}

// TestCallersLeave ends the context of operations that the writer has taken: it
// writes their results when their callers have returned. (The race detector finds
// results that both write.)
func TestCallersLeave(t *testing.T) {
	s := openStore(t, nil)
	n := newClaimed(0)
	accept(t, s, n)
	fence := store.Fence{Key: n.Key, Fence: 1}
	for name, operation := range map[string]func(context.Context) error{
		"accept":  func(ctx context.Context) error { _, err := s.Accept(ctx, newRequest(1)); return err },
		"record":  func(ctx context.Context) error { _, err := s.Record(ctx, fence, store.Report{}); return err },
		"watch":   func(ctx context.Context) error { _, err := s.Watch(ctx, n.Key, true); return err },
		"leave":   func(ctx context.Context) error { _, err := s.CancelUnsubscribed(ctx, n.Key, 0); return err },
		"cancel":  func(ctx context.Context) error { _, err := s.Cancel(ctx, n.Key, n.Subject); return err },
		"finish":  func(ctx context.Context) error { _, err := s.Finish(ctx, fence, store.Outcome{}); return err },
		"expire":  func(ctx context.Context) error { _, err := s.Expire(ctx, 1); return err },
		"unknown": func(ctx context.Context) error { _, err := s.Cancel(ctx, newRequest(2).Key, "ann"); return err },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		held := holdWriter(s, func() { assert.ErrorIs(t, operation(ctx), context.Canceled, name) })
		cancel()
		held.callers.Wait()
		held.release()
		_, err := s.Cancel(t.Context(), newRequest(3).Key, "ann") // behind it
		require.ErrorIs(t, err, store.ErrNotFound)
	}
}

// TestClaimOutlivesItsContext ends the context of a started claim: its caller
// still gets the result, because nobody else could end the request.
func TestClaimOutlivesItsContext(t *testing.T) {
	s := openStore(t, nil)
	n := newRequest(0)
	accept(t, s, n)
	ctx, cancel := context.WithCancel(t.Context())
	claimed := make(chan error, 1)
	held := holdWriter(s, func() {
		_, err := s.Claim(ctx, n.Key, store.Claimant{})
		claimed <- err
	})
	cancel()
	require.Empty(t, claimed, "the caller left")
	held.release()
	require.NoError(t, <-claimed)
}

// big is larger than what fits into a page of the file.
var big = bytes.Repeat([]byte("x"), 30<<10)

// fill accepts big requests until one is refused. It returns the others, and the
// error.
func fill(t *testing.T, s *Store) (kept []store.Key, err error) {
	for {
		n := newRequest(1)
		n.Input = big
		if _, err = s.Accept(t.Context(), n); err != nil {
			return kept, err
		}
		kept = append(kept, n.Key)
		require.Less(t, len(kept), 1000)
	}
}

// TestFull fills the file up to a limit: what does not fit is refused, running
// requests are kept, and writes succeed again when there is space.
func TestFull(t *testing.T) {
	var log bytes.Buffer
	s := openStore(t, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	running := newClaimed(0)
	accept(t, s, running)
	require.NoError(t, s.Check(t.Context()))
	execSQL(t, s, "PRAGMA max_page_count = 100")

	kept, err := fill(t, s)
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.ErrorContains(t, err, "full")
	require.NotEmpty(t, kept)
	require.ErrorIs(t, s.Check(t.Context()), store.ErrUnavailable)

	f := firstFence(running.Key)
	g := &store.Segment{First: 2, Last: 2, Events: []store.Event{{Kind: store.Chunk, Seq: 2, Attempt: 1, Data: big}}}
	_, err = s.Record(t.Context(), f, store.Report{Segment: g})
	require.ErrorIs(t, err, store.ErrUnavailable)
	for _, k := range kept {
		_, _, err := s.Read(t.Context(), k, 0, 1)
		require.NoError(t, err, "reading goes on")
	}
	state, _, err := s.Read(t.Context(), running.Key, 0, 0)
	require.NoError(t, err)
	require.Equal(t, uint64(1), state.LastSeq, "the refused operation was rolled back")

	execSQL(t, s, "PRAGMA max_page_count = 100000")
	_, err = s.Record(t.Context(), f, store.Report{Segment: g})
	require.NoError(t, err)
	require.NoError(t, s.Check(t.Context()))
	finish(t, s, running.Key, succeeded)
	require.Contains(t, log.String(), "the store cannot write")
	require.Contains(t, log.String(), "the store writes again")
	require.NotContains(t, log.String(), "xxxx", "payloads never reach logs")
}

// TestFullBatch fills the file within one batch: small operations still
// succeed.
func TestFullBatch(t *testing.T) {
	s := openStore(t, nil)
	execSQL(t, s, "PRAGMA max_page_count = 80")
	held := holdWriter(s, func() {
		_, err := s.Accept(t.Context(), newRequest(0))
		assert.NoError(t, err)
	})
	for i := range 29 {
		held.add(func() {
			n := newRequest(i)
			if i == 13 {
				n.Input = bytes.Repeat([]byte("x"), 1<<20)
			}
			_, err := s.Accept(t.Context(), n)
			assert.Equal(t, i == 13, err != nil, "%d: %v", i, err)
		})
	}
	held.release()
}

// TestProbe checks that Check finds out by itself that there is space again.
func TestProbe(t *testing.T) {
	s := openStore(t, nil)
	execSQL(t, s, "PRAGMA max_page_count = 1")
	n := newRequest(0)
	n.Input = bytes.Repeat([]byte("x"), 1<<20)
	_, err := s.Accept(t.Context(), n)
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.Error(t, s.Check(t.Context()))
	execSQL(t, s, "PRAGMA max_page_count = 100000")
	require.Error(t, s.Check(t.Context()), "it tries once a second")
	s.health.probed = time.Time{}
	require.NoError(t, s.Check(t.Context()))
}

func TestClosed(t *testing.T) {
	s := openStore(t, nil)
	n := newRequest(0)
	accept(t, s, n)
	acceptOne := func() {
		_, err := s.Accept(t.Context(), newRequest(0))
		assert.NoError(t, err, "what waits is done")
	}
	held := holdWriter(s, acceptOne)
	held.add(acceptOne)
	for range 2 {
		held.callers.Go(func() { assert.NoError(t, s.Close()) })
	}
	held.release()
	ctx := t.Context()
	_, err := s.Accept(ctx, newRequest(0))
	require.ErrorIs(t, err, store.ErrClosed)
	require.ErrorIs(t, err, store.ErrUnavailable)
	_, _, err = s.Read(ctx, n.Key, 0, 0)
	require.ErrorIs(t, err, store.ErrClosed)
	_, _, err = s.List(ctx, store.Query{Tenant: "tenant"}, "")
	require.ErrorIs(t, err, store.ErrClosed)
	require.ErrorIs(t, s.Check(ctx), store.ErrClosed)
	_, err = s.Expire(ctx, 1)
	require.ErrorIs(t, err, store.ErrClosed)
}

// TestLogIsBounded writes much data from many goroutines, and checks the size
// of the write-ahead log.
func TestLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "streamer.db")
	s := openAt(t, path, nil)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for range 90 { // about 110 MiB in all
				n := newRequest(i)
				n.Input = big
				_, err := s.Accept(t.Context(), n)
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	require.Less(t, fileSize(t, path+"-wal"), int64(90<<20))
	require.NoError(t, s.Close())
}

// TestLogOfTheOwnerBefore leaves a log behind, as a killed owner does: the next
// owner counts it. Otherwise the log would grow without bound if no owner
// writes enough by itself.
func TestLogOfTheOwnerBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "streamer.db")
	before := openAt(t, path, nil)
	for i := range 50 {
		accept(t, before, newRequest(i))
	}
	killed := filepath.Join(t.TempDir(), "streamer.db")
	before.writeLock.Lock()
	copyFile(t, path, killed)
	before.writeLock.Unlock()
	require.NoError(t, before.Close())
	left := fileSize(t, killed+"-wal")
	require.Greater(t, left, int64(50*4096))

	after := openAt(t, killed, nil)
	require.GreaterOrEqual(t, after.checkpointer.frames.Load(), left/4200)
	require.NoError(t, after.Close())
}

// TestShrinks deletes most of a file, and checks that the file shrinks in small
// steps.
func TestShrinks(t *testing.T) {
	clock := storetest.NewClock()
	s := openStore(t, &Options{Now: clock.Now})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 40 {
				n := newClaimed(i)
				n.Input, n.IdempotencyKey = big, n.ID
				_, err := s.Accept(t.Context(), n)
				assert.NoError(t, err)
				_, err = s.Finish(t.Context(), firstFence(n.Key), succeeded)
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	count := func(pragma string) (n int) {
		_, err := fmt.Sscan(execSQL(t, s, "PRAGMA "+pragma), &n)
		require.NoError(t, err)
		return n
	}
	before := count("page_count")
	clock.Advance(store.DefaultRetention)
	n, err := s.Expire(t.Context(), 10_000)
	require.NoError(t, err)
	require.Equal(t, 640, n)
	require.Greater(t, count("freelist_count"), 1024)
	for last := -1; count("page_count") != last; {
		last = count("page_count")
		n, err := s.Expire(t.Context(), 10_000)
		require.NoError(t, err)
		require.Zero(t, n)
		require.LessOrEqual(t, last-count("page_count"), 80, "in small steps")
	}
	require.Less(t, count("page_count"), before-1000)
	require.LessOrEqual(t, count("freelist_count"), 1024)
	for _, table := range []string{"requests", "states", "checkpoints", "segments", "idempotency_keys", "cancels"} {
		require.Equal(t, "0", execSQL(t, s, "SELECT count(*) FROM "+table), table)
	}
}
