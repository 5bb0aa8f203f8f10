package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/bench/internal/latency"
	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/peer"
	"github.com/pay-theory/streamer/bench/internal/traffic"
)

// Closed is load in a closed loop: so many jobs are in flight, and the next is
// submitted when one is completed.
type Closed struct {
	Queue    Queue
	Server   *peer.Peer
	InFlight int
	// Warm is how long the load lasts before it is measured, Measure for how
	// long it is.
	Warm, Measure time.Duration
	// Meter tells what is used, the bytes on the wire excepted.
	Meter load.Meter
}

// maxLife is for how long a job may be in flight before the load gives up.
const maxLife = 30 * time.Second

// lane is one job in flight after another.
type lane struct {
	slot int
	done chan struct{}
	life latency.Histogram
	ack  latency.Histogram
}

// closedRun is one run of a closed loop.
type closedRun struct {
	*Closed
	lanes     []*lane
	measuring atomic.Bool
	over      atomic.Bool
	traffic   traffic.Counter
}

// Run opens the queue, runs the load and closes the queue.
func (c *Closed) Run(ctx context.Context) (_ *load.Measured, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &closedRun{Closed: c, lanes: make([]*lane, c.InFlight)}
	for i := range r.lanes {
		r.lanes[i] = &lane{slot: i, done: make(chan struct{}, 1)}
	}
	err = c.Queue.Open(ctx, c.Server, &Options{
		InFlight: c.InFlight, Traffic: &r.traffic, Failed: func(err error) { cancel(err) },
		Begun: func(int, time.Time) {}, Done: r.done,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if failed := c.Queue.Close(); err == nil {
			err = failed
		}
	}()
	m, err := r.run(ctx, cancel)
	if err != nil {
		return nil, err
	}
	for _, l := range r.lanes {
		m.Latency.Add(&l.life)
		m.Ack.Add(&l.ack)
	}
	m.Calls = m.Latency.Count()
	return m, nil
}

// done is told of a job that is completed. Jobs that an earlier load left
// behind may be among them.
func (r *closedRun) done(slot int) {
	if slot < len(r.lanes) {
		select {
		case r.lanes[slot].done <- struct{}{}:
		default:
		}
	}
}

func (r *closedRun) run(ctx context.Context, cancel context.CancelCauseFunc) (*load.Measured, error) {
	var lanes sync.WaitGroup
	for _, l := range r.lanes {
		lanes.Go(func() {
			if err := l.run(ctx, r); err != nil {
				cancel(err)
			}
		})
	}
	m := new(load.Measured)
	pause(ctx, r.Warm)
	before, err := r.used()
	begun := time.Now()
	r.measuring.Store(true)
	pause(ctx, r.Measure)
	r.measuring.Store(false)
	m.During = time.Since(begun)
	after, failed := r.used()
	m.Used = after.Sub(before)
	r.over.Store(true)
	lanes.Wait()
	return m, errors.Join(err, failed, context.Cause(ctx))
}

func (r *closedRun) used() (load.Used, error) {
	u, err := r.Meter.Read()
	u.Wire = r.traffic.Bytes()
	return u, err
}

// run submits a job, waits until it is completed, and so on.
func (l *lane) run(ctx context.Context, r *closedRun) error {
	job := &Job{Slot: l.slot, Order: peer.NewOrder()}
	timer := time.NewTimer(maxLife)
	defer timer.Stop()
	for !r.over.Load() {
		begun := time.Now()
		timer.Reset(maxLife)
		if err := r.Queue.Submit(ctx, job); err != nil {
			return fmt.Errorf("submitting: %w", err)
		}
		stored := time.Since(begun)
		select {
		case <-l.done:
		case <-timer.C:
			return fmt.Errorf("a job was not completed within %v", maxLife)
		case <-ctx.Done():
			return ctx.Err()
		}
		if r.measuring.Load() {
			l.ack.Record(stored)
			l.life.Record(time.Since(begun))
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
