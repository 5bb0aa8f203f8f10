package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pay-theory/streamer/bench/internal/latency"
	"github.com/pay-theory/streamer/bench/internal/peer"
	"github.com/pay-theory/streamer/bench/internal/traffic"
)

// Open is load in an open loop: jobs are submitted at their times.
type Open struct {
	Queue  Queue
	Server *peer.Peer
	// Rate is jobs a second.
	Rate float64
	// Warm is how long the load lasts before it is measured, Measure for how
	// long it is.
	Warm, Measure time.Duration
}

// slots is how many jobs of an open loop may be in flight.
const slots = 4096

// openRun is one run of an open loop.
type openRun struct {
	*Open
	from time.Time
	free chan int
	mu   sync.Mutex
	// sent is when the job in a slot was; zero: it is free.
	sent   [slots]time.Time
	pickup latency.Histogram
	jobs   sync.WaitGroup
}

// Run opens the queue, runs the load and closes the queue. It returns how long
// it took from before Submit to the handler's first line.
func (o *Open) Run(ctx context.Context) (_ *latency.Histogram, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begin := time.Now()
	r := &openRun{Open: o, free: make(chan int, slots), from: begin.Add(o.Warm)}
	for i := range slots {
		r.free <- i
	}
	err = o.Queue.Open(ctx, o.Server, &Options{
		InFlight: 100, Traffic: new(traffic.Counter), Failed: func(err error) { cancel(err) }, Begun: r.begun, Done: r.done,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if failed := o.Queue.Close(); err == nil {
			err = failed
		}
	}()
	begin = time.Now()
	r.from = begin.Add(o.Warm)
	err = r.pace(ctx, cancel, begin)
	r.jobs.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err == nil {
		err = r.drain(ctx)
	}
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := r.pickup
	return &sum, nil
}

func (r *openRun) begun(slot int, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slot < slots && !r.sent[slot].Before(r.from) {
		r.pickup.Record(at.Sub(r.sent[slot]))
	}
}

// done frees a slot, unless it is the job of an earlier load.
func (r *openRun) done(slot int) {
	if slot >= slots {
		return
	}
	r.mu.Lock()
	known := !r.sent[slot].IsZero()
	r.sent[slot] = time.Time{}
	r.mu.Unlock()
	if known {
		r.free <- slot
	}
}

// pace submits each job at its time.
func (r *openRun) pace(ctx context.Context, cancel context.CancelCauseFunc, begin time.Time) error {
	interval := time.Duration(float64(time.Second) / r.Rate)
	end := begin.Add(r.Warm + r.Measure)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := begin; due.Before(end); {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		for now := time.Now(); !due.After(now) && due.Before(end); due = due.Add(interval) {
			select {
			case slot := <-r.free:
				r.jobs.Go(func() {
					if err := r.submit(ctx, slot); err != nil {
						cancel(err)
					}
				})
			default:
				return errors.New("the queue fell too far behind the load")
			}
		}
		timer.Reset(max(time.Until(due), 500*time.Microsecond))
	}
	return nil
}

func (r *openRun) submit(ctx context.Context, slot int) error {
	j := &Job{Slot: slot, Order: peer.NewOrder()}
	r.mu.Lock()
	r.sent[slot] = time.Now()
	r.mu.Unlock()
	if err := r.Queue.Submit(ctx, j); err != nil {
		return fmt.Errorf("submitting: %w", err)
	}
	return nil
}

// drain waits until all jobs are completed.
func (r *openRun) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, maxLife, fmt.Errorf("jobs were not completed within %v", maxLife))
	defer cancel()
	for range slots {
		select {
		case <-r.free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
