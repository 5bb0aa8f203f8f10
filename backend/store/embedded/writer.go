package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/pay-theory/streamer/backend/store"
	"zombiezen.com/go/sqlite"
)

// A batch holds the operations that were waiting when the previous commit was
// done, up to a bound: in a large batch all would wait for one commit, and then
// work while the writer is idle.
const (
	maxBatch      = 128
	maxBatchBytes = 8 << 20
	// maxWaiting is the capacity of the queue of operations. More callers
	// block.
	maxWaiting = 1024
)

// op is an operation that waits for the writer.
type op struct {
	name string
	// run executes the operation. It may run again if the batch is rolled back,
	// so each run must set all variables that it changes. It checks all
	// conditions before it writes.
	run func(w *writer) error
	// size is about how many bytes the operation writes.
	size int
	// held operations are waited for once they may have had their effect, even
	// if the context ends: a claim that nobody knows of would never end.
	held bool

	state atomic.Int32
	done  chan struct{}
	err   error
}

// States of an operation.
const (
	waiting   int32 = iota
	withdrawn       // by its caller; it will not run
	taken           // by the writer
	left            // by its caller, while the writer runs it
	finished
)

// write passes an operation to the writer and waits until its transaction is
// committed and synced. If the context ends before the operation was started,
// it never runs, and the error is the context's; if it was started, the error
// also matches store.ErrUnavailable. If no other caller has an operation, it
// runs at once on the caller's goroutine.
func (s *Store) write(ctx context.Context, o *op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.runOnCaller(o) {
		s.callers.Add(-1)
		return o.err
	}
	o.done = make(chan struct{})
	select {
	case s.ops <- o:
		return s.await(ctx, o)
	case <-ctx.Done():
		s.callers.Add(-1)
		return ctx.Err()
	case <-s.quit:
		s.callers.Add(-1)
		return store.ErrClosed
	}
}

// writeResult is write for an operation with a result. Only the errors that are
// about a state come with it.
func writeResult[T any](ctx context.Context, s *Store, o *op, run func(w *writer) (T, error)) (T, error) {
	var result, none T
	o.run = func(w *writer) (err error) {
		result, err = run(w)
		return err
	}
	err := s.write(ctx, o)
	if err != nil && !isRefusal(err) {
		return none, err
	}
	return result, err
}

// isRefusal reports whether an error comes with the state that it is about.
func isRefusal(err error) bool {
	return errors.Is(err, store.ErrEnded) || errors.Is(err, store.ErrNotDue) ||
		errors.Is(err, store.ErrLeased) || errors.Is(err, store.ErrQuarantined)
}

// await waits for an operation that was passed to the writer.
func (s *Store) await(ctx context.Context, o *op) (err error) {
	select {
	case <-o.done:
		s.callers.Add(-1)
		return o.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.stopped:
		err = store.ErrClosed
	}
	switch {
	case o.state.CompareAndSwap(waiting, withdrawn):
		s.callers.Add(-1)
		return err
	case !o.held && !errors.Is(err, store.ErrClosed) && o.state.CompareAndSwap(taken, left):
		return fmt.Errorf("%w: %s: %w", store.ErrUnavailable, o.name, err)
	default:
		<-o.done
		s.callers.Add(-1)
		return o.err
	}
}

// runOnCaller runs an operation on its caller's goroutine if it is the only
// one, which saves two wake-ups. It returns false if it did not run it. In both
// cases it adds the caller to s.callers, and the caller removes itself; if the
// caller leaves early, the writer removes it, so that no later operation runs
// before its one.
func (s *Store) runOnCaller(o *op) bool {
	// The lock is also held while the log is copied. That takes long, and the
	// context may end meanwhile, so do not wait for it.
	if s.callers.Add(1) != 1 || !s.writeLock.TryLock() {
		return false
	}
	defer s.writeLock.Unlock()
	if s.closed() {
		return false
	}
	s.writer.taken.Add(1)
	s.writer.commit([]*op{o})
	return true
}

// writer writes, on its own goroutine or on that of a single caller. All fields
// except batch are protected by Store.writeLock.
type writer struct {
	store *Store
	conn  *sqlite.Conn
	// others are the connections that must be closed before this one.
	others []*sqlite.Conn

	statements
	cache cache
	// next is the n of the next request.
	next          int64
	unwrittenRows unwrittenRows
	// cancels reports whether any cancel is retained in the file; nil: unknown.
	cancels *bool

	// batch is the buffer for the next batch.
	batch []*op
	// taken counts started operations. Tests wait for it.
	taken atomic.Int64
	// wrote reports that the running operation has written something.
	wrote bool
	// frames is an upper estimate of how far the log grew in this transaction.
	frames int
}

// processOps runs batches until the store is closed, then the operations that
// still wait.
func (w *writer) processOps() {
	defer close(w.store.stopped)
	w.batch = make([]*op, 0, maxBatch)
	for {
		select {
		case o := <-w.store.ops:
			w.serveBatch(o)
		case <-w.store.quit:
			for {
				select {
				case o := <-w.store.ops:
					w.serveBatch(o)
				default:
					return
				}
			}
		}
	}
}

// serveBatch runs an operation in one batch with those that wait when the
// writer gets the lock, and answers them.
func (w *writer) serveBatch(o *op) {
	if !w.takeOp(o) {
		return
	}
	w.store.writeLock.Lock()
	batch := w.collect(append(w.batch[:0], o))
	w.commit(batch)
	w.store.writeLock.Unlock()
	for _, o := range batch {
		if !o.state.CompareAndSwap(taken, finished) {
			w.store.callers.Add(-1) // its caller has left
		}
		close(o.done)
	}
	clear(batch)
}

// takeOp takes an operation, unless its caller has withdrawn it.
func (w *writer) takeOp(o *op) bool {
	if !o.state.CompareAndSwap(waiting, taken) {
		return false
	}
	w.taken.Add(1)
	return true
}

// collect adds the operations that wait to a batch. It does not block.
func (w *writer) collect(batch []*op) []*op {
	size := batch[0].size
	for len(batch) < maxBatch && size < maxBatchBytes {
		select {
		case o := <-w.store.ops:
			if w.takeOp(o) {
				batch = append(batch, o)
				size += o.size
			}
		default:
			return batch
		}
	}
	return batch
}

// commit runs a batch. The caller holds writeLock.
func (w *writer) commit(batch []*op) {
	w.frames = framesPerCommit
	for _, o := range batch {
		w.frames += o.size / pageSize
	}
	w.runAll(batch)
	w.store.checkpointer.grown(w.frames)
}

// runAll runs a batch in one transaction. If an operation fails, or the disk is
// full, it runs each in a transaction of its own, so that only the operations
// that cause the error fail.
func (w *writer) runAll(batch []*op) {
	retrySingly, err := w.attempt(batch)
	if err != nil && retrySingly && len(batch) > 1 {
		for i := range batch {
			if _, err := w.attempt(batch[i : i+1]); err != nil {
				batch[i].err = err
			}
		}
		return
	}
	if err != nil {
		for _, o := range batch {
			o.err = err
		}
	}
}

// attempt runs operations in one transaction. Without an error it is committed,
// and each operation has its own error. With an error nothing was done, and
// retrySingly reports whether fewer operations might succeed.
func (w *writer) attempt(batch []*op) (retrySingly bool, err error) {
	if err := runStatement(w.begin); err != nil {
		w.store.health.recordWrite(err, w.store.opt.Logger)
		return false, err
	}
	if err := w.advanceWrittenBelow(); err != nil {
		w.rollBackBatch(err)
		return false, err
	}
	wrote := false
	for _, o := range batch {
		w.wrote = false
		o.err = o.run(w)
		if o.err != nil && (w.wrote || errors.Is(o.err, store.ErrUnavailable)) {
			w.rollBackBatch(o.err)
			return true, o.err
		}
		wrote = wrote || w.wrote
	}
	if err := runStatement(w.end); err != nil {
		w.rollBackBatch(err)
		return sqlite.ErrCode(err).ToPrimary() == sqlite.ResultFull, err
	}
	if wrote {
		w.store.health.recordWrite(nil, w.store.opt.Logger)
	}
	return false, nil
}

// rollBackBatch rolls back the transaction, and clears the cache, which holds
// its changes.
func (w *writer) rollBackBatch(err error) {
	w.store.health.recordWrite(err, w.store.opt.Logger)
	if !w.conn.AutocommitEnabled() {
		_ = runStatement(w.rollback)
	}
	clear(w.cache)
	w.cancels = nil
	w.unwrittenRows.recount = true
}

// exec prepares and runs a statement that writes, with integers as parameters.
func (w *writer) exec(query string, args ...int64) error {
	stmt, err := prepare(w.conn, query)
	if err != nil {
		return err
	}
	b := bindTo(stmt)
	for _, arg := range args {
		b.int(arg)
	}
	return w.execWrite(stmt)
}

// execWrite runs a statement that writes.
func (w *writer) execWrite(stmt *sqlite.Stmt) error {
	w.wrote = true
	w.frames += framesPerStatement
	return runStatement(stmt)
}
