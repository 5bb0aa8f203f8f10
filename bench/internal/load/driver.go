package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// minPause is the least time between two wakings of an open loop, so that
	// the load itself does not take the processor.
	minPause = 500 * time.Microsecond
	// drainTimeout is for how long the last calls may take to end.
	drainTimeout = time.Minute
)

// Driver keeps calls in flight, and measures how long they take. Each has a
// slot. Without a rate it is a closed loop: a call is in flight in each slot,
// and when it ends the next begins. With a rate it is an open loop: calls begin
// at their times, whether those before have ended or not. A driver runs once.
type Driver struct {
	// Slots is how many calls are in flight, in an open loop at most.
	Slots int
	// Rate is calls per second. 0: a closed loop.
	Rate float64
	// Warm is how long the load lasts before it is measured, Measure for how
	// long it is measured.
	Warm, Measure time.Duration
	// Calls ends a closed loop after that many calls instead.
	Calls int
	// SinceSent measures the calls of an open loop from when they were sent.
	// Default: from when they were due, so that delays of earlier calls count.
	SinceSent bool
	// Meter returns what was used so far.
	Meter func() Used

	// Send sends the request of a slot, without waiting. Flush is called after
	// some were sent outside of Ended. Receivers run in goroutines of their own
	// and call Acked and Ended; Stop makes them return. Without Send, Call is used.
	Send      func(slot int)
	Flush     func()
	Receivers []func()
	Stop      func()
	// Call makes the call of a slot, and returns when it ended, in Unix
	// nanoseconds. It runs in a goroutine of its own.
	Call func(ctx context.Context, slot int) (at int64, err error)

	result  *Result
	ctx     context.Context
	cancel  context.CancelCauseFunc
	phase   atomic.Int32
	from    int64 // when an open loop begins to be measured
	started atomic.Int64
	pending atomic.Int64 // calls in flight, and 1 until no more begin
	drained chan struct{}
	free    chan int // slots of an open loop
	// sent is 0 while a slot is free. Storing it publishes due.
	sent     []atomic.Int64
	due      []int64
	routines sync.WaitGroup
}

// Phases of a run.
const (
	warming int32 = iota
	measuring
	stopping
)

// Run runs the load.
func (d *Driver) Run(ctx context.Context) (*Result, error) {
	d.result, d.drained = NewResult(), make(chan struct{})
	d.sent, d.due = make([]atomic.Int64, d.Slots), make([]int64, d.Slots)
	d.ctx, d.cancel = context.WithCancelCause(ctx)
	if d.Send == nil {
		d.Send, d.Flush, d.Stop = d.startCall, func() {}, func() {}
	}
	defer d.routines.Wait()
	defer d.Stop()
	defer d.cancel(nil)
	d.pending.Store(1)
	for _, receive := range d.Receivers {
		d.routines.Go(receive)
	}
	if d.Rate > 0 {
		d.free = make(chan int, d.Slots)
		for slot := range d.Slots {
			d.free <- slot
		}
		start := time.Now()
		d.from = start.Add(d.Warm).UnixNano()
		d.routines.Go(func() { d.beginAtTimes(start) })
	} else {
		for slot := 0; slot < d.Slots && d.beginsNext(); slot++ {
			d.pending.Add(1)
			d.begin(slot, time.Now().UnixNano())
		}
		d.Flush()
	}
	if err := d.measure(); err != nil {
		return nil, err
	}
	if d.Rate == 0 {
		d.release()
	}
	timeout := time.NewTimer(drainTimeout)
	defer timeout.Stop()
	select {
	case <-d.drained:
		return d.result, nil
	case <-d.ctx.Done():
		return nil, context.Cause(d.ctx)
	case <-timeout.C:
		return nil, fmt.Errorf("%d calls did not end within %v", d.pending.Load(), drainTimeout)
	}
}

// measure lets the load warm up, and then measures it for its time, or until
// its last call has begun.
func (d *Driver) measure() error {
	if err := Pause(d.ctx, d.Warm); err != nil {
		return err
	}
	before := d.Meter()
	d.phase.Store(measuring)
	begun := time.Now()
	for d.Calls > 0 && d.started.Load() < int64(d.Calls) {
		if err := Pause(d.ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	if err := Pause(d.ctx, d.Measure); err != nil {
		return err
	}
	d.phase.Store(stopping)
	d.result.During = time.Since(begun)
	after := d.Meter()
	d.result.Used = Used{after.Server - before.Server, after.Load - before.Load}
	return nil
}

// beginAtTimes begins the calls of an open loop at their times.
func (d *Driver) beginAtTimes(start time.Time) {
	defer d.release()
	interval := time.Duration(float64(time.Second) / d.Rate)
	end := start.Add(d.Warm + d.Measure)
	for due := start; due.Before(end); {
		for now := time.Now(); !due.After(now) && due.Before(end); due = due.Add(interval) {
			select {
			case slot := <-d.free:
				d.pending.Add(1)
				d.begin(slot, due.UnixNano())
			default:
				d.Fail(errors.New("the server fell too far behind the load"))
				return
			}
		}
		d.Flush()
		if Pause(d.ctx, max(time.Until(due), minPause)) != nil {
			return
		}
	}
}

func (d *Driver) begin(slot int, due int64) {
	d.due[slot] = due
	d.sent[slot].Store(time.Now().UnixNano())
	d.Send(slot)
}

func (d *Driver) startCall(slot int) {
	d.routines.Go(func() {
		at, err := d.Call(d.ctx, slot)
		if err != nil {
			d.Fail(err)
			return
		}
		d.Ended(slot, at)
	})
}

// beginsNext reports whether another call of a closed loop begins.
func (d *Driver) beginsNext() bool {
	return d.phase.Load() != stopping && (d.Calls == 0 || d.started.Add(1) <= int64(d.Calls))
}

// release counts down when a slot is not used again, or no more calls begin.
func (d *Driver) release() {
	if d.pending.Add(-1) == 0 {
		close(d.drained)
	}
}

// Acked notes when the call of a slot was acknowledged.
func (d *Driver) Acked(slot int, at int64) {
	if slot < d.Slots && d.phase.Load() == measuring {
		d.result.Ack.Record(time.Duration(at - d.sent[slot].Load()))
	}
}

// Ended notes when the call of a slot ended, and begins the next one. It
// returns false if there was none.
func (d *Driver) Ended(slot int, at int64) bool {
	sent := int64(0)
	if slot < d.Slots {
		sent = d.sent[slot].Swap(0)
	}
	if sent == 0 {
		return false
	}
	measured := d.phase.Load() == measuring
	if d.Rate > 0 {
		due := d.due[slot]
		if measured = due >= d.from; !d.SinceSent {
			sent = due
		}
	}
	if measured {
		d.result.Latency.Record(time.Duration(at - sent))
	}
	switch {
	case d.Rate > 0:
		d.free <- slot
		d.release()
	case d.beginsNext():
		d.begin(slot, time.Now().UnixNano())
	default:
		d.release()
	}
	return true
}

// Fail ends the run with an error.
func (d *Driver) Fail(err error) { d.cancel(err) }

// Pause waits for a time. It returns an error if ctx ends before.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
