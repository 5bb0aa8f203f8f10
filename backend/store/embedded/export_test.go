package embedded

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// ExecSQL runs a statement on the writer's connection, outside of the
// transactions of operations, and returns its first column.
func (s *Store) ExecSQL(query string) (string, error) {
	s.writeLock.Lock()
	defer s.writeLock.Unlock()
	return pragma(s.writer.conn, query)
}

// HoldWriter blocks the writer before its next transaction until release is
// called.
func (s *Store) HoldWriter() (release func()) {
	s.writeLock.Lock()
	return s.writeLock.Unlock
}

// AwaitWaiting waits until n operations wait for the writer, in addition to those
// that it has taken.
func (s *Store) AwaitWaiting(n int) {
	for len(s.ops) != n {
		runtime.Gosched()
	}
}

// WaitingCount returns how many operations wait for the writer.
func (s *Store) WaitingCount() int { return len(s.ops) }

var errBad = errors.New("bad")

// RunFailingOp runs an operation that writes, then fails.
func (s *Store) RunFailingOp(ctx context.Context) error {
	return s.write(ctx, &op{name: "bad", run: func(w *writer) error {
		stmt, err := prepare(w.conn, "INSERT INTO meta VALUES ('bad', 1)")
		if err != nil {
			return err
		}
		return errors.Join(w.execWrite(stmt), errBad)
	}})
}

// ClearCache clears the writer's cache.
func (s *Store) ClearCache() {
	s.writeLock.Lock()
	defer s.writeLock.Unlock()
	clear(s.writer.cache)
}

// CorruptCache changes the states in the writer's cache.
func (s *Store) CorruptCache() {
	s.writeLock.Lock()
	defer s.writeLock.Unlock()
	for k, e := range s.writer.cache {
		stale := *e
		stale.state.LastSeq += 100
		s.writer.cache[k] = &stale
	}
}

// Version returns the version of the newest migration.
func Version() int { return len(migrations) }

// Yield lets other goroutines run.
func (s *Store) Yield() { runtime.Gosched() }

// TakenCount returns how many operations the writer has taken so far.
func (s *Store) TakenCount() int64 { return s.writer.taken.Load() }

// AwaitTaken waits until the writer has taken more operations than before.
func (s *Store) AwaitTaken(before int64) {
	for s.writer.taken.Load() == before {
		runtime.Gosched()
	}
}

// ForgetProbe lets the next Check try a write at once.
func (s *Store) ForgetProbe() {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	s.health.probed = time.Time{}
}

// Frames returns the estimated number of frames in the log that were not copied
// into the file.
func (s *Store) Frames() int { return int(s.checkpointer.frames.Load()) }

// CallerCount returns how many callers have a pending operation.
func (s *Store) CallerCount() int { return int(s.callers.Load()) }
