package embedded

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// ExecSQL runs a statement on the writer's connection, outside any transaction of
// an operation, and returns its first column.
func (s *Store) ExecSQL(query string) (string, error) {
	s.writeLock.Lock()
	defer s.writeLock.Unlock()
	return pragma(s.writer.conn, query)
}

// HoldWriter holds the writer before its next transaction until the function that it
// returns is called.
func (s *Store) HoldWriter() (release func()) {
	s.writeLock.Lock()
	return s.writeLock.Unlock
}

// AwaitWaiting waits until so many operations wait for the writer, beside those
// that it has taken.
func (s *Store) AwaitWaiting(n int) {
	for len(s.ops) != n {
		runtime.Gosched()
	}
}

// WaitingCount tells how many operations wait for the writer.
func (s *Store) WaitingCount() int { return len(s.ops) }

var errBad = errors.New("bad")

// RunFailingOp hands the writer an operation that writes, then fails.
func (s *Store) RunFailingOp(ctx context.Context) error {
	return s.write(ctx, &op{name: "bad", run: func(w *writer) error {
		stmt, err := prepare(w.conn, "INSERT INTO meta VALUES ('bad', 1)")
		if err != nil {
			return err
		}
		return errors.Join(w.execWrite(stmt), errBad)
	}})
}

// ClearCache empties the writer's cache; Stale falsifies what it holds.
func (s *Store) ClearCache() {
	s.writeLock.Lock()
	defer s.writeLock.Unlock()
	clear(s.writer.cache)
}

func (s *Store) CorruptCache() {
	s.writeLock.Lock()
	defer s.writeLock.Unlock()
	for k, e := range s.writer.cache {
		stale := *e
		stale.state.LastSeq += 100
		s.writer.cache[k] = &stale
	}
}

// Version is of the newest migration.
func Version() int { return len(migrations) }

// Yield lets others run.
func (s *Store) Yield() { runtime.Gosched() }

// TakenCount tells how many operations the writer has taken so far, and Taken waits
// until it has taken one more than that.
func (s *Store) TakenCount() int64 { return s.writer.taken.Load() }

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

// Frames tells how far the log is believed to have grown since it was last
// copied into the file.
func (s *Store) Frames() int { return int(s.checkpointer.frames.Load()) }

// CallerCount tells how many callers have an operation under way.
func (s *Store) CallerCount() int { return int(s.callers.Load()) }
