package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/storetest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"zombiezen.com/go/sqlite"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		fmt.Println("error:", child(path))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func TestRequestQueue(t *testing.T) { storetest.Run(t, fixture) }

// fixture opens a store in a file of its own.
func fixture(t *testing.T) *storetest.Fixture {
	clock := storetest.NewClock()
	path := filepath.Join(t.TempDir(), "streamer.db")
	s := openAt(t, path, &Options{Now: clock.Now})
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return &storetest.Fixture{
		Queue: s, Now: clock.Now, Advance: clock.Advance, Reopens: true,
		VoidLeases: func() store.RequestQueue {
			require.NoError(t, s.Close())
			s = openAt(t, path, &Options{Now: clock.Now})
			return s
		},
	}
}

func openAt(t require.TestingT, path string, options *Options) *Store {
	s, err := Open(path, options)
	require.NoError(t, err)
	return s
}

// openStore opens a store in a file of its own, and closes it at the end of the
// test.
func openStore(t *testing.T, options *Options) *Store {
	s := openAt(t, filepath.Join(t.TempDir(), "streamer.db"), options)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// bg is the context of properties and child processes, which have none of their
// own.
var bg = context.Background()

var succeeded = store.Outcome{End: &store.End{Status: store.Succeeded}}

func accept(t require.TestingT, s *Store, n store.Request) store.State {
	a, err := s.Accept(bg, n)
	require.NoError(t, err)
	return a.State
}

// firstFence returns the fence of the first claim of a request.
func firstFence(key store.Key) store.Fence { return store.Fence{Key: key, Fence: 1} }

// finish ends the first attempt of a request.
func finish(t require.TestingT, s *Store, key store.Key, o store.Outcome) store.State {
	state, err := s.Finish(bg, firstFence(key), o)
	require.NoError(t, err)
	return state
}

// execSQL runs a statement on the writer's connection, outside of the
// transactions of operations, and returns its first column.
func execSQL(t require.TestingT, s *Store, query string) string {
	s.writeLock.Lock()
	defer s.writeLock.Unlock()
	return mustPragma(t, s.writer.conn, query)
}

func fileSize(t *testing.T, path string) int64 {
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Size()
}

func mustPragma(t require.TestingT, conn *sqlite.Conn, query string) string {
	text, err := pragma(conn, query)
	require.NoError(t, err)
	return text
}

var errBad = errors.New("bad")

// runFailingOp runs an operation that writes, then fails.
func runFailingOp(s *Store) error {
	return s.write(bg, &op{name: "bad", run: func(w *writer) error {
		return errors.Join(w.exec("INSERT INTO meta VALUES ('bad', 1)"), errBad)
	}})
}

// heldWriter is a writer that has taken a first operation, and does not begin its
// transaction until it is released.
type heldWriter struct {
	s       *Store
	callers sync.WaitGroup
}

// holdWriter holds the writer when it has taken the operation that first starts.
func holdWriter(s *Store, first func()) *heldWriter {
	h := &heldWriter{s: s}
	taken := s.writer.taken.Load()
	s.writeLock.Lock()
	h.callers.Go(first)
	for s.writer.taken.Load() == taken {
		runtime.Gosched()
	}
	return h
}

// add waits until the operation that f starts waits for the writer.
func (h *heldWriter) add(f func()) {
	waiting := len(h.s.ops)
	h.callers.Go(f)
	for len(h.s.ops) == waiting {
		runtime.Gosched()
	}
}

// release lets the writer continue, and waits for all operations.
func (h *heldWriter) release() {
	h.s.writeLock.Unlock()
	h.callers.Wait()
}
