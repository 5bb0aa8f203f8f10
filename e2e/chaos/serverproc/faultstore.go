package serverproc

import (
	"context"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/embedded"
)

// trigger kills the process when its point is reached for the nth time. It is
// safe for concurrent use.
type trigger struct {
	point     Point
	remaining atomic.Int64
	delay     time.Duration
}

func newTrigger(s *Settings) *trigger {
	t := &trigger{point: s.Point, delay: s.Delay}
	t.remaining.Store(int64(s.Nth))
	return t
}

// reach reports that a point is reached. It does not return if the process is
// to be killed there without a delay.
func (t *trigger) reach(p Point) {
	switch {
	case p != t.point || t.remaining.Add(-1) != 0:
	case t.delay > 0:
		time.AfterFunc(t.delay, killSelf)
	default:
		killSelf()
	}
}

// around reaches the point before an operation, and returns what reaches the
// one after it.
func (t *trigger) around(operation string) (after func()) {
	t.reach(Point(operation + ".before"))
	return func() { t.reach(Point(operation + ".after")) }
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

// faultStore is the real store with kill points around its writes. A method
// that has returned has synced, and nobody has been told its outcome: the point
// after it lies between fsync and answer.
type faultStore struct {
	*embedded.Store
	trigger *trigger
}

func (s *faultStore) Accept(ctx context.Context, n store.New) (store.Acceptance, error) {
	defer s.trigger.around("accept")()
	return s.Store.Accept(ctx, n)
}

func (s *faultStore) Claim(ctx context.Context, k store.Key, by store.Claimant) (store.Work, error) {
	defer s.trigger.around("claim")()
	return s.Store.Claim(ctx, k, by)
}

func (s *faultStore) Record(ctx context.Context, f store.Fence, r store.Report) (store.State, error) {
	defer s.trigger.around("record")()
	return s.Store.Record(ctx, f, r)
}

func (s *faultStore) Finish(ctx context.Context, f store.Fence, o store.Outcome) (store.State, error) {
	defer s.trigger.around("finish")()
	return s.Store.Finish(ctx, f, o)
}

func (s *faultStore) Cancel(ctx context.Context, k store.Key, subject string) (store.State, error) {
	defer s.trigger.around("cancel")()
	return s.Store.Cancel(ctx, k, subject)
}

func (s *faultStore) Expire(ctx context.Context, most int) (int, error) {
	defer s.trigger.around("expire")()
	s.trigger.reach(ExpireDuring)
	return s.Store.Expire(ctx, most)
}
