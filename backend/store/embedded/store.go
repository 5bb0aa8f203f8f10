// Package embedded stores requests in one SQLite file with one owner. It is the
// store of a server that runs on one machine.
//
// One goroutine at a time writes. It takes the operations that wait, runs them
// in one transaction, and answers them when that is committed and synced. So
// many callers share the cost of one fsync, and no operation waits for others;
// a single caller writes on its own goroutine. Reads use other connections.
//
// A lease is an incarnation of the store, counted in the file: it is valid
// until the file is opened again, and never expires.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// Options configure a store. The zero value and nil are valid.
type Options struct {
	// Now is the store's clock. Default time.Now.
	Now func() time.Time
	// Retention is how long a request is kept after its end. Default
	// store.DefaultRetention.
	Retention time.Duration
	// Logger logs when writes begin to fail, and when they succeed again.
	// Default: nothing is logged.
	Logger *slog.Logger

	// block is the size of a block of unwrittenRows, smaller in tests. Default
	// unwrittenBlock.
	block int64
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	opt         Options
	path        string
	lock        *os.File
	incarnation int64

	ops     chan *op
	quit    chan struct{} // closed by Close
	stopped chan struct{} // closed when the writer has ended
	// callers counts callers with a pending operation.
	callers atomic.Int64
	// writeLock is held during each transaction that writes, and by the
	// checkpointer when the write-ahead log is so long that writes must wait.
	writeLock sync.Mutex
	writer    *writer
	readers   chan *reader

	checkpointer *checkpointer
	health       health
	idFilter     *idFilter

	closing  sync.Once
	closeErr error
}

var (
	_ store.RequestQueue    = (*Store)(nil)
	_ store.Retainer        = (*Store)(nil)
	_ store.Operator        = (*Store)(nil)
	_ store.Watcher         = (*Store)(nil)
	_ store.ExistenceFilter = (*Store)(nil)
	_ store.Checker         = (*Store)(nil)
)

// Open opens the database at path, creates it if there is none, and migrates an
// older one. A lock file and SQLite's own files are beside it: path with .lock,
// -wal and -shm. Options may be nil. All leases of the previous owner end, and
// no connection follows anything.
//
// Errors: *LockedError if the file has an owner; ErrForeign, ErrNewer,
// ErrCorrupt, ErrReadOnly.
func Open(path string, options *Options) (*Store, error) {
	s := &Store{
		ops: make(chan *op, maxWaiting), quit: make(chan struct{}), stopped: make(chan struct{}),
	}
	if options != nil {
		s.opt = *options
	}
	if s.opt.Now == nil {
		s.opt.Now = time.Now
	}
	if s.opt.Retention <= 0 {
		s.opt.Retention = store.DefaultRetention
	}
	s.opt.block = cmp.Or(s.opt.block, unwrittenBlock)
	s.opt.Logger = cmp.Or(s.opt.Logger, slog.New(slog.DiscardHandler))
	var err error
	if s.path, err = locate(path); err != nil {
		return nil, err
	}
	if err := inspect(s.path); err != nil {
		return nil, err
	}
	if s.lock, err = acquireLock(s.path); err != nil {
		return nil, err
	}
	if err := s.openConnections(); err != nil {
		return nil, errors.Join(openError(s.path, err), s.release())
	}
	go s.writer.processOps()
	go s.checkpointer.checkpointLoop()
	return s, nil
}

// Close closes the store. It finishes the operations that wait for the writer,
// and refuses later ones with store.ErrClosed. It is safe to call more than
// once.
func (s *Store) Close() error {
	s.closing.Do(func() {
		close(s.quit)
		<-s.stopped
		<-s.checkpointer.stopped
		// Wait for a caller that writes on its own goroutine; no other can start.
		s.writeLock.Lock()
		s.writeLock.Unlock() //nolint:staticcheck // it only waits
		for range cap(s.readers) {
			// Each read is one page: this waits for milliseconds.
			<-s.readers
		}
		s.closeErr = s.release()
	})
	return s.closeErr
}

// closed reports whether Close was called.
func (s *Store) closed() bool {
	select {
	case <-s.quit:
		return true
	default:
		return false
	}
}

// Check returns nil when the store can be read and written. If the last write
// failed it tries a small one, at most once a second.
func (s *Store) Check(ctx context.Context) error {
	if s.closed() {
		return store.ErrClosed
	}
	if s.health.probe() {
		// The outcome is recorded in s.health.
		_ = s.write(ctx, &op{name: "check", run: (*writer).probe})
	}
	if err := s.health.failed(); err != nil {
		return fmt.Errorf("the last write failed: %w", err)
	}
	return s.withReader(ctx, func(r *reader) error { return r.checkReadable() })
}
