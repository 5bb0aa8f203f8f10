package serverproc

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
)

// trigger kills the process when its point is reached for the nth time. It is
// safe for concurrent use.
type trigger struct {
	*Settings
	times atomic.Int64 // how often it was reached
}

// reach reports that a point is reached. It does not return if the process is
// to be killed there without a delay.
func (t *trigger) reach(p Point) {
	switch {
	case p != t.Point || int(t.times.Add(1)) != t.Nth:
	case t.Delay > 0:
		time.AfterFunc(t.Delay, killSelf)
	default:
		killSelf()
	}
}

// killSelf ends the process without running or flushing anything.
func killSelf() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until the signal is delivered
}

// watchFile calls changed whenever it sees that the file was written to. In WAL
// mode only checkpoints write to the database file.
func watchFile(name string, changed func()) {
	before, _ := os.Stat(name)
	for range time.Tick(100 * time.Microsecond) {
		info, err := os.Stat(name)
		if err == nil && (before == nil || info.Size() != before.Size() || !info.ModTime().Equal(before.ModTime())) {
			before = info
			changed()
		}
	}
}

// hooks kill the process around the writes of a store. A method that has returned
// has synced, and nobody has been notified of its outcome: the point after it lies
// between fsync and answer.
func (t *trigger) hooks() faultstore.Hooks {
	return faultstore.Hooks{
		Before: func(op faultstore.Op, _ store.Key) error {
			t.reach(Point(op + ".before"))
			if op == faultstore.Expire {
				t.reach(ExpireDuring)
			}
			return nil
		},
		After: func(op faultstore.Op, _ store.Key, err error) error {
			t.reach(Point(op + ".after"))
			return err
		},
	}
}
