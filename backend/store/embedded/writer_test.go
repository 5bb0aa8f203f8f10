package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/pay-theory/streamer/backend/store/storetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func openStore(t *testing.T, options *embedded.Options) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(filepath.Join(t.TempDir(), "streamer.db"), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// TestFailuresInBatch puts many operations into one transaction: refusals, and
// an operation that fails after it wrote, do not affect the others.
func TestFailuresInBatch(t *testing.T) {
	s := openStore(t, nil)
	known := newRequest(0)
	_, err := s.Accept(t.Context(), known)
	require.NoError(t, err)
	conflict := known
	conflict.Subject = "another"

	took := s.TakenCount()
	release := s.HoldWriter()
	var wg sync.WaitGroup
	submit := func(f func()) {
		waiting := s.WaitingCount()
		wg.Go(f)
		s.AwaitWaiting(waiting + 1)
	}
	wg.Go(func() { _, _ = s.Accept(t.Context(), newRequest(0)) })
	s.AwaitTaken(took) // it waits; the others become the next batch
	var fresh []store.Key
	for i := range 20 {
		n := newRequest(i)
		fresh = append(fresh, n.Key)
		submit(func() {
			a, err := s.Accept(t.Context(), n)
			assert.NoError(t, err)
			assert.True(t, a.Fresh)
		})
		switch i {
		case 3:
			submit(func() {
				_, err := s.Accept(t.Context(), conflict)
				assert.ErrorIs(t, err, store.ErrConflict)
			})
		case 7:
			submit(func() { assert.ErrorContains(t, s.RunFailingOp(t.Context()), "bad") })
		case 11:
			submit(func() {
				_, err := s.Claim(t.Context(), store.Key{Tenant: "x", ID: "y"}, store.Claimant{})
				assert.ErrorIs(t, err, store.ErrNotFound)
			})
		}
	}
	release()
	wg.Wait()
	left, err := s.ExecSQL("SELECT count(*) FROM meta WHERE name = 'bad'")
	require.NoError(t, err)
	require.Equal(t, "0", left, "the failed operation was rolled back")
	for _, k := range fresh {
		_, events, err := s.Read(t.Context(), k, 0, 1)
		require.NoError(t, err)
		require.Len(t, events, 1)
	}
}

// TestStaleCache changes the states in the writer's cache: the file decides.
func TestStaleCache(t *testing.T) {
	s := openStore(t, nil)
	n := newRequest(0)
	n.Claim = &store.Claimant{}
	a, err := s.Accept(t.Context(), n)
	require.NoError(t, err)
	_, err = s.Record(t.Context(), store.Fence{Key: n.Key, Fence: 1}, store.Report{Progress: &store.Progress{Attempt: 1, Rev: 1}})
	require.NoError(t, err)
	s.CorruptCache()
	_, err = s.Finish(t.Context(), store.Fence{Key: n.Key, Fence: 1}, store.Outcome{End: &store.End{Status: store.Succeeded}})
	require.ErrorIs(t, err, store.ErrUnavailable)
	state, err := s.Finish(t.Context(), store.Fence{Key: n.Key, Fence: 1}, store.Outcome{End: &store.End{Status: store.Succeeded}})
	require.NoError(t, err)
	require.Equal(t, a.State.LastSeq+1, state.LastSeq)
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
	s := queue.(*embedded.Store)
	return faultstore.New(s, faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		switch op {
		case faultstore.Claim, faultstore.Record, faultstore.Finish, faultstore.Watch, faultstore.CancelUnsubscribed:
			s.ClearCache()
		}
		return nil
	}})
}

func TestCancelledContext(t *testing.T) {
	s := openStore(t, nil)
	n, later, claimed := newRequest(0), newRequest(1), newRequest(2)
	claimed.Claim = &store.Claimant{}
	took := s.TakenCount()
	release := s.HoldWriter()
	results := map[string]chan error{"taken": make(chan error, 1), "waits": make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := s.Accept(ctx, n)
		results["taken"] <- err
	}()
	s.AwaitTaken(took)
	go func() {
		_, err := s.Accept(ctx, later)
		results["waits"] <- err
	}()
	s.AwaitWaiting(1)
	cancel()
	err := <-results["taken"]
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, store.ErrUnavailable, "it may have had its effect")
	err = <-results["waits"]
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, store.ErrUnavailable, "it had no effect, and never will")
	release()

	_, err = s.Accept(t.Context(), claimed)
	require.NoError(t, err, "it does not run before an earlier operation")
	require.Zero(t, s.CallerCount())
	_, _, err = s.Read(t.Context(), n.Key, 0, 0)
	require.NoError(t, err)
	_, _, err = s.Read(t.Context(), later.Key, 0, 0)
	require.ErrorIs(t, err, store.ErrNotFound)
}

// TestClaimOutlivesItsContext ends the context of a started claim: its caller
// still gets the result, because nobody else could end the request.
func TestClaimOutlivesItsContext(t *testing.T) {
	s := openStore(t, nil)
	n := newRequest(0)
	_, err := s.Accept(t.Context(), n)
	require.NoError(t, err)
	took := s.TakenCount()
	release := s.HoldWriter()
	ctx, cancel := context.WithCancel(t.Context())
	claimed := make(chan error, 1)
	go func() {
		_, err := s.Claim(ctx, n.Key, store.Claimant{})
		claimed <- err
	}()
	s.AwaitTaken(took)
	cancel()
	select {
	case err := <-claimed:
		require.Fail(t, "the caller left", "%v", err)
	default:
	}
	release()
	require.NoError(t, <-claimed)
}

// TestFull fills the file up to a limit: what does not fit is refused, running
// requests are kept, and writes succeed again when there is space.
func TestFull(t *testing.T) {
	var log bytes.Buffer
	s := openStore(t, &embedded.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	running := newRequest(0)
	running.Claim = &store.Claimant{}
	_, err := s.Accept(t.Context(), running)
	require.NoError(t, err)
	require.NoError(t, s.Check(t.Context()))
	_, err = s.ExecSQL("PRAGMA max_page_count = 100")
	require.NoError(t, err)

	big := []byte(`"` + strings.Repeat("x", 30<<10) + `"`)
	var kept []store.Key
	for {
		n := newRequest(1)
		n.Input = big
		if _, err = s.Accept(t.Context(), n); err != nil {
			break
		}
		kept = append(kept, n.Key)
		require.Less(t, len(kept), 1000)
	}
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.ErrorContains(t, err, "full")
	require.NotEmpty(t, kept)
	require.ErrorIs(t, s.Check(t.Context()), store.ErrUnavailable)

	f := store.Fence{Key: running.Key, Fence: 1}
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

	_, err = s.ExecSQL("PRAGMA max_page_count = 100000")
	require.NoError(t, err)
	_, err = s.Record(t.Context(), f, store.Report{Segment: g})
	require.NoError(t, err)
	require.NoError(t, s.Check(t.Context()))
	_, err = s.Finish(t.Context(), f, store.Outcome{End: &store.End{Status: store.Succeeded}})
	require.NoError(t, err)
	require.Contains(t, log.String(), "the store cannot write")
	require.Contains(t, log.String(), "the store writes again")
	require.NotContains(t, log.String(), "xxxx", "payloads never reach logs")
}

// TestFullBatch fills the file within one batch: small operations still
// succeed.
func TestFullBatch(t *testing.T) {
	s := openStore(t, nil)
	_, err := s.ExecSQL("PRAGMA max_page_count = 80")
	require.NoError(t, err)
	release := s.HoldWriter()
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			n := newRequest(i)
			if i == 13 {
				n.Input = bytes.Repeat([]byte("x"), 1<<20)
			}
			_, err := s.Accept(t.Context(), n)
			assert.Equal(t, i == 13, err != nil, "%d: %v", i, err)
		})
	}
	for s.WaitingCount() < 20 {
		s.Yield()
	}
	release()
	wg.Wait()
}

// TestProbe checks that Check finds out by itself that there is space again.
func TestProbe(t *testing.T) {
	s := openStore(t, nil)
	_, err := s.ExecSQL("PRAGMA max_page_count = 1")
	require.NoError(t, err)
	n := newRequest(0)
	n.Input = bytes.Repeat([]byte("x"), 1<<20)
	_, err = s.Accept(t.Context(), n)
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.Error(t, s.Check(t.Context()))
	_, err = s.ExecSQL("PRAGMA max_page_count = 100000")
	require.NoError(t, err)
	require.Error(t, s.Check(t.Context()), "it tries once a second")
	s.ForgetProbe()
	require.NoError(t, s.Check(t.Context()))
}

func TestClosed(t *testing.T) {
	s := openStore(t, nil)
	n := newRequest(0)
	_, err := s.Accept(t.Context(), n)
	require.NoError(t, err)
	took := s.TakenCount()
	release := s.HoldWriter()
	accepted := make(chan error, 2)
	for range 2 {
		m := newRequest(0)
		go func() {
			_, err := s.Accept(t.Context(), m)
			accepted <- err
		}()
		s.AwaitTaken(took)
	}
	s.AwaitWaiting(1) // one is taken, one waits
	closed := make(chan error, 2)
	go func() { closed <- s.Close() }()
	go func() { closed <- s.Close() }()
	release()
	for range 2 {
		require.NoError(t, <-accepted, "what waits is done")
		require.NoError(t, <-closed)
	}
	ctx := t.Context()
	_, err = s.Accept(ctx, newRequest(0))
	require.ErrorIs(t, err, store.ErrClosed)
	require.ErrorIs(t, err, store.ErrUnavailable)
	_, _, err = s.Read(ctx, n.Key, 0, 0)
	require.ErrorIs(t, err, store.ErrClosed)
	_, _, err = s.List(ctx, store.Query{Tenant: "tenant"}, "")
	require.ErrorIs(t, err, store.ErrClosed)
	require.ErrorIs(t, s.Check(ctx), store.ErrClosed)
	_, err = s.Expire(ctx, 1)
	require.True(t, errors.Is(err, store.ErrClosed))
}

// TestLogIsBounded writes much data from many goroutines, and checks the size
// of the write-ahead log.
func TestLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "streamer.db")
	s, err := embedded.Open(path, nil)
	require.NoError(t, err)
	big := []byte(`"` + strings.Repeat("x", 30<<10) + `"`)
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
	info, err := os.Stat(path + "-wal")
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(90<<20))
	t.Logf("the log has %d MiB", info.Size()>>20)
	require.NoError(t, s.Close())
}

// TestLogOfTheOwnerBefore leaves a log behind, as a killed owner does: the next
// owner counts it. Otherwise the log would grow without bound if no owner
// writes enough by itself.
func TestLogOfTheOwnerBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "streamer.db")
	before, err := embedded.Open(path, nil)
	require.NoError(t, err)
	for i := range 50 {
		_, err := before.Accept(t.Context(), newRequest(i))
		require.NoError(t, err)
	}
	killed := filepath.Join(t.TempDir(), "streamer.db")
	release := before.HoldWriter()
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(killed+suffix, data, 0o600))
	}
	release()
	require.NoError(t, before.Close())
	left, err := os.Stat(killed + "-wal")
	require.NoError(t, err)
	require.Greater(t, left.Size(), int64(50*4096))

	after, err := embedded.Open(killed, nil)
	require.NoError(t, err)
	require.GreaterOrEqual(t, after.Frames(), int(left.Size()/4200))
	require.NoError(t, after.Close())
}

// TestShrinks deletes most of a file, and checks that the file shrinks in small
// steps.
func TestShrinks(t *testing.T) {
	clock := storetest.NewClock()
	s := openStore(t, &embedded.Options{Now: clock.Now})
	big := bytes.Repeat([]byte("x"), 32<<10)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 40 {
				n := newRequest(i)
				n.Input, n.Claim, n.IdempotencyKey = big, &store.Claimant{}, n.ID
				_, err := s.Accept(t.Context(), n)
				assert.NoError(t, err)
				_, err = s.Finish(t.Context(), store.Fence{Key: n.Key, Fence: 1}, store.Outcome{End: &store.End{Status: store.Succeeded}})
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	count := func(pragma string) (n int) {
		text, err := s.ExecSQL("PRAGMA " + pragma)
		require.NoError(t, err)
		_, err = fmt.Sscan(text, &n)
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
		text, err := s.ExecSQL("SELECT count(*) FROM " + table)
		require.NoError(t, err)
		require.Equal(t, "0", text, table)
	}
}
