package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// SchedulerOptions configures a scheduler. The zero value is useful.
type SchedulerOptions struct {
	// Workers is how many stored attempts run at once; calls beyond them wait.
	// Default 1,000.
	Workers int
	// MaxHints bounds the hints in memory; more wait in the store. Default
	// 100,000.
	MaxHints int
	// SweepInterval is how often the store is asked for hints that are missing
	// here. Default 1 min.
	SweepInterval time.Duration
	// Shards is the store's number of shards. Default store.DefaultShards.
	Shards int
	// Logger. Default: no log.
	Logger *slog.Logger
}

// Scheduler is the Dispatcher of a process that holds its workers itself. It
// calls Engine.Run for requests that are due while workers are free: tenants take
// turns, and of the quarantined requests one runs at a time. It is safe for
// concurrent use.
type Scheduler struct {
	opt    SchedulerOptions
	shards []int
	engine *Engine

	mu       sync.Mutex
	schedule *schedule
	free     int // workers
	// unresponsive counts the handlers that ignore the end of their context and
	// hold no worker.
	unresponsive int
	// quarantineBusy says that a quarantined request runs.
	quarantineBusy bool
	timer          *time.Timer
	timerAt        time.Time // zero: the timer is not set
	// truncated says that the store holds hints that had no room here.
	truncated, loading bool
	stopped            bool

	ctx        context.Context
	quit       context.CancelFunc
	goroutines sync.WaitGroup
}

var _ Dispatcher = (*Scheduler)(nil)

// NewScheduler returns a scheduler that holds hints and starts nothing.
func NewScheduler(o SchedulerOptions) *Scheduler {
	orDefault(&o.Workers, 1000)
	orDefault(&o.MaxHints, 100_000)
	orDefault(&o.SweepInterval, time.Minute)
	orDefault(&o.Shards, store.DefaultShards)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Scheduler{opt: o, schedule: newSchedule(o.MaxHints), free: o.Workers}
	for shard := range o.Shards {
		s.shards = append(s.shards, shard)
	}
	s.ctx, s.quit = context.WithCancel(context.Background())
	return s
}

// Start reads from the store what has not ended, and begins to run it with the
// engine, whose dispatcher is this scheduler.
func (s *Scheduler) Start(ctx context.Context, e *Engine) error {
	s.mu.Lock()
	s.engine = e
	s.mu.Unlock()
	if err := s.load(ctx); err != nil {
		return err
	}
	s.goroutines.Add(1)
	go s.sweep()
	return nil
}

// Stop starts no further request. It does not wait.
func (s *Scheduler) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.quit()
}

// Wait returns when all that was started has ended; call it after Engine.Stop.
func (s *Scheduler) Wait() { s.goroutines.Wait() }

// Reserve implements Dispatcher. While requests wait for a worker it reserves
// none.
func (s *Scheduler) Reserve() (release func(handler <-chan struct{}), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.free == 0 || s.schedule.waiting > 0 {
		return nil, false
	}
	s.free--
	return s.release, true
}

// release frees the worker of an attempt that was not quarantined.
func (s *Scheduler) release(handler <-chan struct{}) { s.releaseWorker(false, handler) }

// releaseWorker frees a worker. If the handler still runs, the worker is freed
// all the same, unless as many such handlers as there are workers run already; but a
// quarantined request is quarantined until its handler has returned, because a
// crash that it causes would be counted against the next one.
func (s *Scheduler) releaseWorker(quarantined bool, handler <-chan struct{}) {
	s.mu.Lock()
	freed := handler == nil || s.unresponsive < s.opt.Workers
	if freed {
		s.free++
	}
	if handler != nil && freed {
		s.unresponsive++
	}
	if handler == nil && quarantined {
		s.quarantineBusy = false
	}
	waits := s.schedule.len() > 0 || s.truncated
	s.mu.Unlock()
	if handler != nil {
		go s.awaitHandler(quarantined, freed, handler)
	}
	if freed && waits {
		s.dispatch()
	}
}

// awaitHandler frees what an attempt still holds when its handler returns.
func (s *Scheduler) awaitHandler(quarantined, freed bool, handler <-chan struct{}) {
	<-handler
	s.mu.Lock()
	if freed {
		s.unresponsive--
	} else {
		s.free++
	}
	if quarantined {
		s.quarantineBusy = false
	}
	s.mu.Unlock()
	s.dispatch()
}

// Enqueue implements Dispatcher.
func (s *Scheduler) Enqueue(hints ...store.Hint) {
	now := time.Now()
	s.mu.Lock()
	for i := range hints {
		h := &hints[i]
		// The sweeper brings hints beyond the horizon in time. Otherwise calls
		// with a long delay would fill the queue for all.
		if !h.Due.IsZero() && !h.Due.After(now.Add(s.horizon())) && !s.schedule.push(*h, now) {
			s.truncated = true
		}
	}
	s.mu.Unlock()
	s.dispatch()
}

// horizon is how far ahead hints are held in memory.
func (s *Scheduler) horizon() time.Duration { return 2 * s.opt.SweepInterval }

// Forget implements Dispatcher.
func (s *Scheduler) Forget(k store.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedule.remove(k)
}

// dispatch starts what is due while workers are free, and sets the timer.
func (s *Scheduler) dispatch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.engine == nil {
		return
	}
	now := time.Now()
	for _, h := range s.schedule.advance(now) {
		s.goroutines.Add(1)
		go s.finishLate(h)
	}
	for s.free > 0 {
		h, ok := s.schedule.pop(!s.quarantineBusy)
		if !ok {
			break
		}
		s.free--
		quarantined := isQuarantined(&h)
		s.quarantineBusy = s.quarantineBusy || quarantined
		s.goroutines.Add(1)
		go s.run(h, quarantined)
	}
	s.resetTimer(now)
	if s.truncated && !s.loading && s.schedule.len() <= s.opt.MaxHints/2 {
		s.loading = true
		s.goroutines.Add(1)
		go s.reload()
	}
}

// resetTimer sets the timer to the schedule's next moment. The lock is held.
func (s *Scheduler) resetTimer(now time.Time) {
	at, ok := s.schedule.next()
	switch {
	case !ok:
		if s.timer != nil {
			s.timer.Stop()
			s.timerAt = time.Time{}
		}
	case s.timer == nil:
		s.timer = time.AfterFunc(at.Sub(now), s.onTimer)
		s.timerAt = at
	case !at.Equal(s.timerAt) || !at.After(now):
		s.timer.Reset(max(0, at.Sub(now)))
		s.timerAt = at
	}
}

// onTimer may be called early by the wall clock, if that was set back: then the
// timer must be set again.
func (s *Scheduler) onTimer() {
	s.mu.Lock()
	s.timerAt = time.Time{}
	s.mu.Unlock()
	s.dispatch()
}

func (s *Scheduler) finishLate(h store.Hint) {
	defer s.goroutines.Done()
	s.engine.HandleLate(s.engine.ctx, h)
}

// run runs one request with a worker.
func (s *Scheduler) run(h store.Hint, quarantined bool) {
	defer s.goroutines.Done()
	ran, err := s.engine.Run(context.Background(), h.Key, quarantined)
	s.releaseWorker(quarantined, ran.Handler)
	switch {
	case errors.Is(err, store.ErrQuarantined):
		h.CrashCount = max(h.CrashCount, store.QuarantineAfter)
		s.Enqueue(h)
	case errors.Is(err, store.ErrClosed):
	case errors.Is(err, store.ErrLeased):
		if h.Due = h.CancelAt; !h.Due.IsZero() { // it runs, and may have to be cancelled
			s.Enqueue(h)
		}
	case errors.Is(err, store.ErrUnavailable):
		h.Due = time.Now().Add(time.Second)
		if !s.engine.reconcileLater(h) {
			s.Enqueue(h)
		}
	case err != nil && !errors.Is(err, store.ErrNotDue) && !errors.Is(err, store.ErrNotFound):
		s.opt.Logger.Error("a call could not be claimed", "id", h.ID, "error", err)
	case !ran.Next.Due.IsZero():
		s.Enqueue(ran.Next)
	}
}

// load reads from every shard what is due first, up to the horizon.
func (s *Scheduler) load(ctx context.Context) error {
	s.mu.Lock()
	s.truncated = false
	s.mu.Unlock()
	more, err := s.engine.Sweep(ctx, s.shards, time.Now().Add(s.horizon()), max(s.opt.MaxHints/s.opt.Shards, 1))
	if more {
		s.mu.Lock()
		s.truncated = true
		s.mu.Unlock()
	}
	return err
}

// reload reads hints that had no room.
func (s *Scheduler) reload() {
	defer s.goroutines.Done()
	err := s.load(s.ctx)
	if err != nil && s.ctx.Err() == nil {
		s.opt.Logger.Warn("the queue could not be read", "error", err)
	}
	s.mu.Lock()
	s.truncated = s.truncated || err != nil
	s.loading = false
	// If nothing waits or runs, no event would cause the next reload.
	idle := s.schedule.len() == 0 && s.free == s.opt.Workers
	s.mu.Unlock()
	if err == nil && idle {
		s.dispatch()
	}
}

// sweep reads the store at intervals, and has it delete what has expired.
func (s *Scheduler) sweep() {
	defer s.goroutines.Done()
	ticker := time.NewTicker(s.opt.SweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
			return
		}
		if err := s.load(s.ctx); err != nil && s.ctx.Err() == nil {
			s.opt.Logger.Warn("the sweeper could not read the queue", "error", err)
			continue
		}
		if err := s.engine.Reap(s.ctx); err != nil && s.ctx.Err() == nil {
			s.opt.Logger.Warn("expired requests could not be deleted", "error", err)
		}
	}
}
