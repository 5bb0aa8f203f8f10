// Package engine runs calls: inline, promoted or durable. It claims, runs,
// records, retries, keeps deadlines, cancels, finishes and sweeps. It knows
// neither sockets nor messages; what must be said it has said by package
// deliver.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/store"
)

// Options configures an engine. Store, Registry and Teller are required.
type Options struct {
	Store    store.RequestQueue
	Registry *core.Registry
	Teller   *deliver.Teller
	Logger   *slog.Logger

	// Workers is how many durable attempts run at once; calls beyond them wait
	// in the store. Default 1,000.
	Workers int
	// MaxInline is how many inline calls run at once, of which no tenant gets
	// all. Default 10,000.
	MaxInline int
	// MaxHints bounds the queue in memory; the rest waits in the store.
	// Default 100,000.
	MaxHints int
	// PoisonAfter is how often a suspect may die alone. Default 3.
	PoisonAfter int
	// Threshold is when inline calls are promoted. Default 5 s.
	Threshold time.Duration
	// Deaf is how long after its context's end a handler is waited for.
	// Default 10 s.
	Deaf time.Duration
	// Settle is how long Stop waits for handlers after it ended their
	// contexts. Default 5 s.
	Settle time.Duration
	// Sweep is how often the store is asked for what was forgotten. Default
	// 1 min.
	Sweep time.Duration
	// Lease is for how long a claim holds; Record renews it at a third. Zero
	// for stores with one owner, whose leases need no renewal.
	Lease time.Duration
	// DefaultTimeout is a whole call's when the client names none. Default
	// 24 h.
	DefaultTimeout time.Duration
	// Worker names this process, for operators.
	Worker string
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	count := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	count(&o.Workers, 1000)
	count(&o.MaxInline, 10_000)
	count(&o.MaxHints, 100_000)
	count(&o.PoisonAfter, 3)
	set(&o.Threshold, core.Threshold)
	set(&o.Deaf, 10*time.Second)
	set(&o.Settle, 5*time.Second)
	set(&o.Sweep, time.Minute)
	set(&o.DefaultTimeout, 24*time.Hour)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Engine runs calls. It is safe for concurrent use.
type Engine struct {
	Options
	// ctx ends when Stop gives up: it holds back what waits for the store.
	ctx  context.Context
	quit context.CancelFunc

	stopping    atomic.Bool
	inlineCalls *quota.Pool

	mu      sync.Mutex
	inline  map[store.Key]*attempt
	running map[store.Key]*attempt
	// givingUp tells that handlers that begin now are to end at once.
	givingUp bool
	// entering are calls that are being stored or claimed.
	entering map[store.Key]*entry
	schedule *schedule
	slots    int  // free workers
	deaf     int  // settled attempts whose handler still runs, and holds no slot
	alone    bool // a suspect runs
	// waiting and waitingAt are the timer for the schedule's next moment.
	waiting   *time.Timer
	waitingAt time.Time
	// truncated tells that the store holds hints that found no room.
	truncated, loading bool

	abandon abandon
	missed  missed
	// drain wakes Stop whenever an attempt or a submission has ended.
	drain chan struct{}
	// settled counts attempts whose outcome is not written yet, and the
	// engine's own goroutines.
	settled sync.WaitGroup
}

// New returns an engine that accepts calls; it does not work off what is
// stored before Start.
func New(o Options) *Engine {
	o = o.withDefaults()
	e := &Engine{
		Options:     o,
		inline:      map[store.Key]*attempt{},
		running:     map[store.Key]*attempt{},
		entering:    map[store.Key]*entry{},
		slots:       o.Workers,
		inlineCalls: quota.NewPool(o.MaxInline),
		drain:       make(chan struct{}, 1),
	}
	e.ctx, e.quit = context.WithCancel(context.Background())
	e.schedule = newSchedule(o.MaxHints)
	e.abandon.init(e)
	o.Teller.Watch(e.abandon.followed, e.abandon.unfollowed)
	return e
}

// Start reads from the store what has not ended, and begins to work it off.
func (e *Engine) Start(ctx context.Context) error {
	if err := e.load(ctx); err != nil {
		return err
	}
	if err := e.abandon.load(ctx); err != nil {
		return err
	}
	e.settled.Add(1)
	go e.sweep()
	return nil
}

// Stop refuses new calls at once, and lets running handlers end until ctx
// does. Then it ends their contexts with ErrShutdown, and puts back into the
// queue what has not ended after Options.Settle. It returns when all outcomes
// are written, or could not be.
func (e *Engine) Stop(ctx context.Context) error {
	if e.stopping.Swap(true) {
		return nil
	}
	e.mu.Lock()
	if e.waiting != nil {
		e.waiting.Stop()
	}
	e.mu.Unlock()
	e.abandon.stop()
	e.drained(ctx)
	e.quit()
	e.settled.Wait()
	return nil
}

// drained waits for the attempts as Stop says.
func (e *Engine) drained(ctx context.Context) {
	if e.waitIdle(ctx) {
		return
	}
	e.mu.Lock()
	e.givingUp = true
	e.mu.Unlock()
	for _, a := range e.attempts() {
		a.end(core.ErrShutdown)
	}
	grace, cancel := context.WithTimeout(context.Background(), e.Settle)
	defer cancel()
	if e.waitIdle(grace) {
		return
	}
	last, cancel := context.WithTimeout(context.Background(), e.Settle)
	defer cancel()
	for {
		// Again and again: some come out of the store only now.
		// Beside this, for the store may not take the outcomes.
		for _, a := range e.attempts() {
			go a.abandonHandler()
		}
		if e.idle() {
			return
		}
		select {
		case <-e.drain:
		case <-last.Done():
			return
		}
	}
}

// idle tells whether nothing runs any more.
func (e *Engine) idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.inline)+len(e.running)+len(e.entering) == 0
}

func (e *Engine) attempts() []*attempt {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*attempt, 0, len(e.inline)+len(e.running))
	for _, a := range e.inline {
		out = append(out, a)
	}
	for _, a := range e.running {
		out = append(out, a)
	}
	return out
}

// waitIdle waits until nothing runs any more or ctx ends, and tells which.
func (e *Engine) waitIdle(ctx context.Context) bool {
	for {
		if e.idle() {
			return true
		}
		select {
		case <-e.drain:
		case <-ctx.Done():
			return false
		}
	}
}

// Running tells how many attempts run in this process, inline ones included.
func (e *Engine) Running() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.inline) + len(e.running)
}

// persist repeats a write while the store is unavailable, with growing pauses,
// until the engine is stopped: a handler is held there meanwhile.
func (e *Engine) persist(write func(context.Context) error) error {
	wait := 20 * time.Millisecond
	for {
		err := write(e.ctx)
		if err == nil || !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-e.ctx.Done():
			return err
		}
		wait = min(2*wait, 2*time.Second)
	}
}
