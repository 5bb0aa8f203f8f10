package embedded

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"
)

// Lengths of the write-ahead log. A frame is a page.
const (
	// framesPerCommit and framesPerStatement are how far they move the log,
	// roughly, beside what the operations weigh: the last leaf of each table and
	// index, which statements of one batch share.
	framesPerCommit    = 4
	framesPerStatement = 1
	// framesPassive is after how many frames, by that guess, they are copied
	// into the file while writing goes on.
	framesPassive = 4096
	// framesHoldingWrites is from how many frames on writing is held until all are
	// copied, so that the log starts again from its beginning: 32 MiB.
	framesHoldingWrites = 8192
	// walLimit is to how many bytes the log's file is cut when it starts again.
	walLimit = 64 << 20

	// checkpointPause is the least time between two checkpoints, and
	// checkpointIdle after what silence all of the log is copied. It is not cut:
	// writing over it costs half of what it would to let it grow again.
	checkpointPause = 100 * time.Millisecond
	checkpointIdle  = 2 * time.Second
)

// checkpointer copies the write-ahead log into the file, on a connection and a
// goroutine of its own.
type checkpointer struct {
	store   *Store
	conn    *sqlite.Conn
	frames  atomic.Int64 // guessed since the last checkpoint
	wake    chan struct{}
	stopped chan struct{}
}

func newCheckpointer(s *Store) (*checkpointer, error) {
	conn, err := connect(s.path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	// Longer than a page takes to read; a checkpoint that finds the log busy
	// comes again.
	conn.SetBusyTimeout(50 * time.Millisecond)
	if err := configure(conn, "-1024"); err != nil {
		_ = conn.Close()
		return nil, err
	}
	c := &checkpointer{store: s, conn: conn, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	// An owner that was killed leaves its log behind. Did it not count, owners
	// that are killed again and again would grow it without bound.
	c.grown(framesOnDisk(s.path))
	return c, nil
}

// framesOnDisk returns how many frames lie in the log's file at most.
func framesOnDisk(path string) int {
	info, err := os.Stat(path + "-wal")
	if err != nil {
		return 0
	}
	return int(info.Size() / pageSize)
}

// grown is told by the writer how far the log may have grown.
func (c *checkpointer) grown(frames int) {
	if frames == 0 {
		return
	}
	c.frames.Add(int64(frames))
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *checkpointer) checkpointLoop() {
	defer close(c.stopped)
	idle, pause := time.NewTimer(checkpointIdle), time.NewTimer(checkpointPause)
	defer idle.Stop()
	defer pause.Stop()
	for {
		select {
		case <-c.store.quit:
			return
		case <-idle.C:
			c.checkpointHoldingWrites("RESTART")
			continue
		case <-c.wake:
		}
		idle.Reset(checkpointIdle)
		if c.frames.Load() < framesPassive {
			continue
		}
		c.frames.Store(0)
		if c.checkpointDuringWrites() >= framesHoldingWrites {
			c.checkpointHoldingWrites("RESTART")
		}
		pause.Reset(checkpointPause)
		select {
		case <-c.store.quit:
			return
		case <-pause.C:
		}
	}
}

// checkpointDuringWrites runs a checkpoint while writing goes on, and returns how many frames
// the log has.
//
// It must not begin when all of the log is copied: the writer might begin the
// log anew between SQLite's look at its length and its note of what was copied,
// and frames of the new log would count as copied that are not, and be lost
// (SQLite 3.7.0 to 3.51.2, mended in 3.51.3). Only checkpoints copy, and this
// is the only goroutine that runs them; so a commit before it is enough, after
// which the log cannot begin anew until this checkpoint is done.
func (c *checkpointer) checkpointDuringWrites() (frames int) {
	err := c.store.write(context.Background(), &op{name: "checkpoint", run: func(w *writer) error {
		stmt, err := prepare(w.conn, `UPDATE meta SET value = value + 1 WHERE name = 'checkpoints'`)
		if err != nil {
			return err
		}
		return w.execWrite(stmt)
	}})
	switch {
	case c.store.closed():
		return 0
	case err != nil: // the disk is full, perhaps, and this makes room in the log
		c.store.writeLock.Lock()
		defer c.store.writeLock.Unlock()
	}
	return c.checkpoint("PASSIVE")
}

// checkpointHoldingWrites runs a checkpoint while nothing is written: all of the log is copied
// then, and it starts again from its beginning.
func (c *checkpointer) checkpointHoldingWrites(mode string) {
	c.store.writeLock.Lock()
	defer c.store.writeLock.Unlock()
	c.checkpoint(mode)
}

// checkpoint runs a checkpoint and returns how many frames the log has. That one
// fails is no news: the log stays longer, and the next one is tried.
func (c *checkpointer) checkpoint(mode string) (frames int) {
	stmt, err := prepare(c.conn, "PRAGMA wal_checkpoint("+mode+")")
	if err == nil {
		_, err = firstRow(stmt, func(r *row) {
			_ = r.int() // busy
			frames = int(r.int())
		})
	}
	if err != nil {
		c.store.opt.Logger.Warn("the write-ahead log was not copied", "mode", mode, "error", err)
	}
	return frames
}
