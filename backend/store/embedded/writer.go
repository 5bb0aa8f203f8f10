package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/pay-theory/streamer/backend/store"
	"zombiezen.com/go/sqlite"
)

// A batch is what was waiting when the commit before was done, within bounds.
const (
	maxBatch      = 1024
	maxBatchBytes = 8 << 20
)

// op is one operation that waits for the writer.
type op struct {
	name string
	// run does it. It is run again if the batch has to be rolled back: what it
	// leaves in variables must be set anew by each run. It checks all
	// conditions before it writes.
	run func(w *writer) error
	// size is about how many bytes it writes.
	size int
	// held operations are not left alone by their callers once they may have
	// had their effect: a claim that nobody knows of would be held for ever.
	held bool

	state atomic.Int32 // waiting, then taken or withdrawn
	done  chan struct{}
	err   error
}

const (
	waiting int32 = iota
	taken
	withdrawn
)

// write hands an operation to the writer and waits until its transaction is
// committed and synced. If the context ends first and the operation has not
// begun, it never will, and the error is the context's; if it has begun, the
// error is a store.ErrUnavailable, too.
func (s *Store) write(ctx context.Context, o *op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o.done = make(chan struct{})
	select {
	case s.ops <- o:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.quit:
		return store.ErrClosed
	}
	var err error
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.stopped:
		err = store.ErrClosed
	}
	switch {
	case o.state.CompareAndSwap(waiting, withdrawn):
		return err
	case o.held || errors.Is(err, store.ErrClosed):
		<-o.done
		return o.err
	default:
		return fmt.Errorf("%w: %s: %w", store.ErrUnavailable, o.name, err)
	}
}

// writer is the goroutine that writes, and all that only it may touch.
type writer struct {
	store *Store
	conn  *sqlite.Conn
	// others are the connections to be closed before this one.
	others []*sqlite.Conn

	statements
	cache cache
	// cancels tells whether any cancel is remembered in the file; nil: unknown.
	cancels *bool

	// taken counts operations that were begun. Tests wait for it.
	taken atomic.Int64
	// wrote tells that the running operation has written something.
	wrote bool
	// frames is a high guess of how far the log grew in this transaction.
	frames int
}

// loop takes batches until the store is closed, then what still waits.
func (w *writer) loop() {
	defer close(w.store.stopped)
	batch := make([]*op, 0, maxBatch)
	for {
		select {
		case o := <-w.store.ops:
			batch = w.collect(append(batch[:0], o))
			w.commit(batch)
		case <-w.store.quit:
			for batch = w.collect(batch[:0]); len(batch) > 0; batch = w.collect(batch[:0]) {
				w.commit(batch)
			}
			return
		}
		clear(batch)
	}
}

// collect adds what waits, and waits for nothing.
func (w *writer) collect(batch []*op) []*op {
	size := 0
	for _, o := range batch {
		size += o.size
	}
	for len(batch) < maxBatch && size < maxBatchBytes {
		select {
		case o := <-w.store.ops:
			batch = append(batch, o)
			size += o.size
		default:
			return batch
		}
	}
	return batch
}

// commit runs a batch and answers it.
func (w *writer) commit(batch []*op) {
	live := batch[:0]
	for _, o := range batch {
		if o.state.CompareAndSwap(waiting, taken) {
			live = append(live, o)
		}
	}
	if len(live) == 0 {
		return
	}
	w.taken.Add(int64(len(live)))
	w.frames = 0
	w.store.gate.Lock()
	w.runAll(live)
	w.store.gate.Unlock()
	w.store.checkpointer.grown(w.frames)
	for _, o := range live {
		close(o.done)
	}
}

// runAll runs a batch in one transaction. If that fails within an operation,
// or for want of space, each is run in a transaction of its own, so that only
// the guilty fail.
func (w *writer) runAll(batch []*op) {
	alone, err := w.attempt(batch)
	if err != nil && alone && len(batch) > 1 {
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

// attempt runs operations in one transaction. Without an error it is
// committed, and each operation has its own error. With an error nothing was
// done, and alone tells whether fewer operations may fare better.
func (w *writer) attempt(batch []*op) (alone bool, err error) {
	if err := run(w.begin); err != nil {
		w.store.health.note(err, w.store.opt.Logger)
		return false, err
	}
	wrote := false
	for _, o := range batch {
		w.wrote = false
		o.err = o.run(w)
		if o.err != nil && (w.wrote || isFailure(o.err)) {
			w.abandon(o.err)
			return true, o.err
		}
		wrote = wrote || w.wrote
	}
	if err := run(w.end); err != nil {
		w.abandon(err)
		return sqlite.ErrCode(err).ToPrimary() == sqlite.ResultFull, err
	}
	if wrote {
		w.store.health.note(nil, w.store.opt.Logger)
	}
	return false, nil
}

// abandon rolls back. The cache holds what was rolled back: it is emptied.
func (w *writer) abandon(err error) {
	w.store.health.note(err, w.store.opt.Logger)
	if !w.conn.AutocommitEnabled() {
		_ = run(w.rollback)
	}
	clear(w.cache)
	w.cancels = nil
}

// exec runs a statement that writes.
func (w *writer) exec(stmt *sqlite.Stmt) error {
	w.wrote = true
	w.frames += framesPerStatement
	return run(stmt)
}
