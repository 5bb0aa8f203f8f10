package load

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/bench/internal/latency"
)

// Open is load in an open loop: requests come at their times, whether those
// before were answered or not.
type Open struct {
	// Conns take turns.
	Conns    []*Conn
	Template Template
	// Rate is requests a second.
	Rate float64
	// Warm is how long the load lasts before it is measured, Measure for how
	// long it is.
	Warm, Measure time.Duration
	// Took is how long a request took, from its last answer.
	Took func(t *Times, a *Answer) time.Duration
}

// Times are a request's, in Unix nanoseconds.
type Times struct {
	// Due is when it should have been sent, Sent when it was.
	Due, Sent int64
	// Answered is when its last answer came.
	Answered int64
}

// SinceDue is the latency that somebody sees who has no part in the delays of
// those before.
func SinceDue(t *Times, _ *Answer) time.Duration { return time.Duration(t.Answered - t.Due) }

const (
	// slots is how many requests of a connection may be unanswered.
	slots = 1024
	// grain is the least time between two writings, so that the generator
	// itself does not take the processor.
	grain = 500 * time.Microsecond
)

// stream is one connection of an open loop: a pacer sends, a reader reads.
type stream struct {
	conn *Conn
	// due and sent are by slot; sent is 0 when the slot is free, and is what
	// hands due over.
	due     [slots]int64
	sent    [slots]atomic.Int64
	next    uint16
	latency latency.Histogram
}

var errBehind = errors.New("the server fell too far behind the load")

// send queues a request.
func (s *stream) send(t *Template, due int64) error {
	slot := s.next
	s.next = (s.next + 1) % slots
	if s.sent[slot].Load() != 0 {
		return errBehind
	}
	s.due[slot] = due
	s.sent[slot].Store(time.Now().UnixNano())
	s.conn.request(t, slot)
	return nil
}

// Run runs the load, and returns how long the requests took that were due
// while it was measured. After an error the connections are of no more use.
func (o *Open) Run(ctx context.Context) (*latency.Histogram, error) {
	streams := make([]*stream, len(o.Conns))
	ended := make(chan error, len(streams))
	begin := time.Now()
	from := begin.Add(o.Warm)
	var left atomic.Int64 // unanswered, and one for the pacer
	left.Store(1)
	done := make(chan struct{})
	for i, conn := range o.Conns {
		streams[i] = &stream{conn: conn}
		go func() { ended <- streams[i].read(o, from.UnixNano(), &left, done) }()
	}
	err := o.pace(ctx, streams, begin, &left)
	if left.Add(-1) == 0 {
		close(done)
	}
	running := len(streams)
	if err == nil {
		running, err = o.await(ctx, done, ended, running)
	}
	// The readers wait for what will not come.
	failed := settle(o.Conns, ended, running, true)
	if err == nil && !errors.Is(failed, errDone) {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	sum := new(latency.Histogram)
	for _, s := range streams {
		sum.Add(&s.latency)
	}
	return sum, nil
}

// pace sends each request at its time.
func (o *Open) pace(ctx context.Context, streams []*stream, begin time.Time, left *atomic.Int64) error {
	interval := time.Duration(float64(time.Second) / o.Rate)
	end := begin.Add(o.Warm + o.Measure)
	timer := time.NewTimer(0)
	defer timer.Stop()
	turn := 0
	for due := begin; due.Before(end); {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		now := time.Now()
		first := turn
		for ; !due.After(now) && due.Before(end); due = due.Add(interval) {
			left.Add(1)
			if err := streams[turn%len(streams)].send(&o.Template, due.UnixNano()); err != nil {
				return err
			}
			turn++
		}
		for i := first; i < min(turn, first+len(streams)); i++ {
			if err := streams[i%len(streams)].conn.flush(); err != nil {
				return err
			}
		}
		timer.Reset(max(time.Until(due), grain))
	}
	return nil
}

// await waits until all is answered.
func (o *Open) await(ctx context.Context, done <-chan struct{}, ended <-chan error, running int) (int, error) {
	timer := time.NewTimer(drain)
	defer timer.Stop()
	select {
	case <-done:
		return running, nil
	case err := <-ended:
		return running - 1, err
	case <-timer.C:
		return running, errBehind
	case <-ctx.Done():
		return running, ctx.Err()
	}
}

// errDone ends a reader that has nothing more to read.
var errDone = errors.New("all is answered")

// read takes answers until the connection's deadline.
func (s *stream) read(o *Open, from int64, left *atomic.Int64, done chan<- struct{}) error {
	for {
		frame, err := s.conn.read()
		if err != nil {
			if left.Load() == 0 {
				return errDone
			}
			return err
		}
		now := time.Now().UnixNano()
		for a := range Answers(frame) {
			ended, err := a.end()
			if err != nil {
				return err
			}
			if !ended || int(a.Slot) >= slots {
				continue
			}
			t := Times{Answered: now}
			t.Sent = s.sent[a.Slot].Load() // which hands due over
			if t.Due = s.due[a.Slot]; t.Due >= from {
				s.latency.Record(o.Took(&t, &a))
			}
			s.sent[a.Slot].Store(0)
			if left.Add(-1) == 0 {
				close(done)
			}
		}
	}
}
