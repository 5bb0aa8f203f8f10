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
	// framesPerCommit and framesPerStatement are estimates of how many frames a
	// commit and a statement add, in addition to the data of the operations: the
	// last leaf of each table and index, which the statements of a batch share.
	framesPerCommit    = 4
	framesPerStatement = 1
	// framesPassive is the estimated number of frames after which they are
	// copied into the file while writes continue.
	framesPassive = 4096
	// framesHoldingWrites is the number of frames (32 MiB) from which on writes
	// wait until all are copied, so that the log restarts from its beginning.
	framesHoldingWrites = 8192
	// walLimit is the size to which the log's file is truncated when it restarts.
	walLimit = 64 << 20

	// checkpointPause is the minimal time between two checkpoints. After
	// checkpointIdle without writes the whole log is copied. It is not truncated,
	// because overwriting it costs half as much as letting it grow again.
	checkpointPause = 100 * time.Millisecond
	checkpointIdle  = 2 * time.Second
)

// checkpointer copies the write-ahead log into the file, on its own connection
// and goroutine.
type checkpointer struct {
	store   *Store
	conn    *sqlite.Conn
	frames  atomic.Int64 // estimated number since the last checkpoint
	wake    chan struct{}
	stopped chan struct{}
}

func newCheckpointer(s *Store) (*checkpointer, error) {
	conn, err := connect(s.path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	// Longer than reading a page takes. A checkpoint that finds the log busy is
	// repeated later.
	conn.SetBusyTimeout(50 * time.Millisecond)
	if err := configure(conn, "-1024"); err != nil {
		_ = conn.Close()
		return nil, err
	}
	c := &checkpointer{store: s, conn: conn, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	// A killed owner leaves its log behind. It must count: otherwise owners that
	// are killed repeatedly would make it grow without bound.
	if log, err := os.Stat(s.path + "-wal"); err == nil {
		c.grown(int(log.Size() / pageSize))
	}
	return c, nil
}

// grown adds to the estimated length of the log. The writer calls it.
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
			c.checkpointHoldingWrites()
			continue
		case <-c.wake:
		}
		idle.Reset(checkpointIdle)
		if c.frames.Load() < framesPassive {
			continue
		}
		c.frames.Store(0)
		if c.checkpointDuringWrites() >= framesHoldingWrites {
			c.checkpointHoldingWrites()
		}
		pause.Reset(checkpointPause)
		select {
		case <-c.store.quit:
			return
		case <-pause.C:
		}
	}
}

// checkpointDuringWrites runs a checkpoint while writes continue, and returns the
// number of frames in the log.
//
// It must not start while the whole log is copied: the writer could restart the
// log between the moment when SQLite reads its length and the moment when it
// records what was copied. Frames of the new log would then count as copied, and
// be lost (SQLite 3.7.0 to 3.51.2, fixed in 3.51.3). Only checkpoints copy, and
// only this goroutine runs them, so a commit right before is enough: the log
// cannot restart until this checkpoint is done.
func (c *checkpointer) checkpointDuringWrites() (frames int) {
	err := c.store.write(context.Background(), &op{name: "checkpoint", run: func(w *writer) error {
		return w.exec(`UPDATE meta SET value = value + 1 WHERE name = 'checkpoints'`)
	}})
	switch {
	case c.store.closed():
		return 0
	case err != nil: // the disk may be full; this frees space in the log
		c.store.writeLock.Lock()
		defer c.store.writeLock.Unlock()
	}
	return c.checkpoint("PASSIVE")
}

// checkpointHoldingWrites runs a checkpoint while writes wait: it copies the
// whole log, which then restarts from its beginning.
func (c *checkpointer) checkpointHoldingWrites() {
	c.store.writeLock.Lock()
	defer c.store.writeLock.Unlock()
	c.checkpoint("RESTART")
}

// checkpoint runs a checkpoint and returns the number of frames in the log. A
// failure does no harm: the log stays longer until the next checkpoint.
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
