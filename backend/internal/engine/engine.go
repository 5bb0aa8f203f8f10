// Package engine runs calls: inline, promoted or stored. It claims, runs,
// records, retries, keeps deadlines, cancels and finishes them. It knows neither
// sockets nor messages: package deliver sends what happens to the subscribers.
//
// Its parts: [Engine.Submit] accepts a request; an [Attempt] is one run of its
// handler; [Engine.Run] runs one stored request that is due; a [Dispatcher]
// decides when that is, for the embedded server the [Scheduler].
package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/store"
)

// Options configures an engine. Store, Registry, Notifier and Dispatcher are
// required.
type Options struct {
	Store      store.RequestQueue
	Registry   *core.Registry
	Notifier   *deliver.Notifier
	Dispatcher Dispatcher
	// Logger. Default: no log.
	Logger *slog.Logger

	// MaxInline is how many inline calls run at once, shared by the tenants.
	// Default 10,000.
	MaxInline int
	// MaxQuarantineCrashes is how often a quarantined request may crash its
	// worker before it is a dead letter. Default 3.
	MaxQuarantineCrashes int
	// Threshold is when an inline call is promoted. Default 5 s.
	Threshold time.Duration
	// CancelGrace is how long after the end of its context a handler is waited
	// for. Default 10 s.
	CancelGrace time.Duration
	// StopGrace is how long Stop waits for handlers after it ended their
	// contexts. Default 5 s.
	StopGrace time.Duration
	// Lease is how long a claim holds; Record renews it at a third. Zero is for
	// stores with one owner, whose leases are not renewed.
	Lease time.Duration
	// CancelPoll is how often a running attempt asks the store whether its call
	// was cancelled, on a store with leases, which other processes write to.
	// Default 2 s.
	CancelPoll time.Duration
	// DefaultTimeout is the whole call's when the client names none. Default
	// 24 h.
	DefaultTimeout time.Duration
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

func (o Options) withDefaults() Options {
	orDefault(&o.MaxInline, 10_000)
	orDefault(&o.MaxQuarantineCrashes, 3)
	orDefault(&o.Threshold, core.Threshold)
	orDefault(&o.CancelGrace, 10*time.Second)
	orDefault(&o.StopGrace, 5*time.Second)
	orDefault(&o.CancelPoll, 2*time.Second)
	orDefault(&o.DefaultTimeout, 24*time.Hour)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Dispatcher has [Engine.Run] called for stored requests. It holds hints; the
// store is authoritative. It is safe for concurrent use.
type Dispatcher interface {
	// Reserve takes a worker for a request that is about to be stored claimed.
	// If ok, release must be called once: with nil when the attempt has ended,
	// or with a channel that is closed when its handler, which ignores its
	// context, returns.
	Reserve() (release func(handler <-chan struct{}), ok bool)
	// Enqueue has Run called for each hint at its Due or later. It may lose,
	// duplicate and reorder hints.
	Enqueue(hints ...store.Hint)
	// Forget drops the hint for a request that has ended.
	Forget(k store.Key)
}

// Engine runs calls. It is safe for concurrent use. New starts no goroutine.
type Engine struct {
	Options
	watcher store.Watcher // nil: the store has no such role
	// ctx ends when Stop gives up: it ends what waits for the store.
	ctx  context.Context
	quit context.CancelFunc

	inlineCalls    *quota.Pool
	calls          calls
	pendingCancels pendingCancels
	// background counts the writes that no caller waits for.
	background sync.WaitGroup
	stopOnce   sync.Once
}

// New returns an engine that accepts calls.
func New(o Options) *Engine {
	o = o.withDefaults()
	e := &Engine{Options: o, calls: newCalls(), inlineCalls: quota.NewPool(o.MaxInline)}
	e.watcher, _ = o.Store.(store.Watcher)
	e.ctx, e.quit = context.WithCancel(context.Background())
	return e
}

// RefuseNew refuses new calls from now on.
func (e *Engine) RefuseNew() { e.calls.refuseNew() }

// Stop refuses new calls at once, and lets running handlers end until ctx does.
// Then it ends their contexts with ErrShutdown. After StopGrace it finishes the
// rest without their handlers, so that their calls are queued again. It returns
// when all outcomes are written, or cannot be. It may be called again, and then waits,
// too.
func (e *Engine) Stop(ctx context.Context) {
	e.stopOnce.Do(func() {
		e.RefuseNew()
		e.awaitCalls(ctx)
		e.calls.stop()
		e.quit()
		e.background.Wait()
	})
}

func (e *Engine) awaitCalls(ctx context.Context) {
	if e.calls.awaitIdle(ctx) {
		return
	}
	for _, a := range e.calls.shutDown() {
		a.cancel(core.ErrShutdown)
	}
	grace, cancel := context.WithTimeout(context.Background(), e.StopGrace)
	defer cancel()
	if e.calls.awaitIdle(grace) {
		return
	}
	last, cancel := context.WithTimeout(context.Background(), e.StopGrace)
	defer cancel()
	for {
		// Each time again: some requests come out of the store only now. On
		// goroutines, because the store may not take the outcomes.
		for _, a := range e.calls.attempts() {
			go a.onUnresponsive()
		}
		if !e.calls.awaitChange(last) || e.calls.idle() {
			return
		}
	}
}

// persist repeats a write while the store is unavailable, with growing pauses,
// until the engine is stopped. The handler of the call that it is for waits
// meanwhile.
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

func (e *Engine) claimant(quarantine bool) *store.Claimant {
	return &store.Claimant{Lease: e.Lease, Quarantine: quarantine}
}
