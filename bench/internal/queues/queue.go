// Package queues makes load on the job queues that people use today: each behind
// one interface, set up as its own documentation advises for speed. Producers
// and workers live in this process, as they do in an application that embeds
// such a queue.
package queues

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/servers"
)

// Queue is a job queue. Its workers run between Open and Close.
type Queue interface {
	// Open connects to the server, and starts workers.
	Open(ctx context.Context, server *servers.Server, w *Work) error
	// Submit returns when the queue confirms that the job is stored. It is safe
	// for concurrent use.
	Submit(ctx context.Context, j *Job) error
	// Close waits until no job runs, and disconnects, also after an error of
	// Open.
	Close() error
}

// Job is what is submitted: the order that Streamer's echoes carry.
type Job struct {
	// Run distinguishes jobs of this load from those that an earlier one left behind.
	Run   int64         `json:"run"`
	Slot  int           `json:"slot"`
	Order servers.Order `json:"order"`
}

const kind = "echo"

// Kind names the job's kind for River.
func (Job) Kind() string { return kind }

const (
	// poolSize is how many connections a pool has: four per core of a small
	// machine, as the pools' documentation advises.
	poolSize = 16
	// pollInterval is how often River and Asynq look for jobs.
	pollInterval = time.Millisecond
	// closeTimeout is for how long the last jobs may run.
	closeTimeout = 15 * time.Second
)

// Work is what workers do.
type Work struct {
	inFlight int
	run      int64
	begun    []int64         // by slot, when the handler began, in Unix nanoseconds
	done     []chan struct{} // by slot
	fail     func(error)
}

// Handle is the handler: as Streamer's echo it encodes the order, which is
// decoded already. The job is completed when confirm, which may be nil, has
// returned without an error.
func (w *Work) Handle(j *Job, confirm func() error) error {
	if j.Run == w.run {
		w.begun[j.Slot] = time.Now().UnixNano()
	}
	_, err := json.Marshal(&j.Order)
	if err == nil && confirm != nil {
		err = confirm()
	}
	if err == nil && j.Run == w.run {
		select {
		case w.done[j.Slot] <- struct{}{}:
		default: // it was completed before
		}
	}
	return err
}

// HandleEncoded decodes a job and handles it.
func (w *Work) HandleEncoded(data []byte, confirm func() error) error {
	var j Job
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	return w.Handle(&j, confirm)
}

// Run opens a queue, has a driver submit jobs, and closes the queue. With pickup
// it measures until the handler begins, else until the job is completed.
func Run(ctx context.Context, q Queue, server *servers.Server, d *load.Driver, pickup bool) (_ *load.Result, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &Work{
		inFlight: min(d.Slots, 1000), run: time.Now().UnixNano(), begun: make([]int64, d.Slots), done: make([]chan struct{}, d.Slots), fail: cancel,
	}
	for slot := range w.done {
		w.done[slot] = make(chan struct{}, 1)
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	if err := q.Open(ctx, server, w); err != nil {
		return nil, err
	}
	order := servers.NewOrder()
	d.Call = func(ctx context.Context, slot int) (int64, error) {
		if err := q.Submit(ctx, &Job{w.run, slot, order}); err != nil {
			return 0, fmt.Errorf("submitting: %w", err)
		}
		select {
		case <-w.done[slot]:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		if pickup {
			return w.begun[slot], nil
		}
		return time.Now().UnixNano(), nil
	}
	return d.Run(ctx)
}
