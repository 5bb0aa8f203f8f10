package victim

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/plan"
)

// trigger ends the process when its point is reached for the nth time. It is
// safe for concurrent use.
type trigger struct {
	point plan.Point
	left  atomic.Int64
	delay time.Duration
}

func newTrigger(s *Settings) *trigger {
	t := &trigger{point: s.Point, delay: s.Delay}
	t.left.Store(int64(s.Nth))
	return t
}

// at says that a point is reached. It does not return if that was the moment.
func (t *trigger) at(p plan.Point) {
	switch {
	case p != t.point || t.left.Add(-1) != 0:
	case t.delay > 0:
		time.AfterFunc(t.delay, die)
	default:
		die()
	}
}

// die ends the process as a power cut would: nothing is run, nothing flushed.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal may take a moment
}

// watchFile calls changed whenever the file is seen to have been written to. In
// WAL mode only checkpoints write to the database file.
func watchFile(name string, changed func()) {
	stamp := func() (time.Time, int64) {
		info, err := os.Stat(name)
		if err != nil {
			return time.Time{}, 0
		}
		return info.ModTime(), info.Size()
	}
	at, size := stamp()
	for range time.Tick(100 * time.Microsecond) {
		newAt, newSize := stamp()
		if !newAt.Equal(at) || newSize != size {
			at, size = newAt, newSize
			changed()
		}
	}
}
