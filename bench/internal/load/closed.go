package load

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/bench/internal/latency"
)

// Closed is load in a closed loop: each connection keeps a window of requests
// unanswered, and sends the next when one is answered.
type Closed struct {
	Conns    []*Conn
	Template Template
	// Window is how many requests of a connection are unanswered, 1 to 1,024.
	Window int
	// Warm is how long the load lasts before it is measured, Measure for how
	// long it is.
	Warm, Measure time.Duration
	// Meter tells what is used. Bytes on the wire are those of Conns, and are
	// not asked of it.
	Meter Meter
}

// phase is how far a run has come.
type phase = int32

const (
	warming phase = iota
	measuring
	stopping
)

// drain is for how long the last answers are waited for.
const drain = 15 * time.Second

// lane is one connection of a closed loop.
type lane struct {
	conn     *Conn
	template *Template
	sent     []time.Duration // by slot, since the run began
	calls    uint64
	latency  latency.Histogram
	ack      latency.Histogram
}

// Run runs the load. After an error the connections are of no more use.
func (c *Closed) Run(ctx context.Context) (*Measured, error) {
	var now atomic.Int32
	start := time.Now()
	lanes := make([]*lane, len(c.Conns))
	ended := make(chan error, len(lanes))
	for i, conn := range c.Conns {
		lanes[i] = &lane{conn: conn, template: &c.Template, sent: make([]time.Duration, c.Window)}
		go func() { ended <- lanes[i].run(start, &now) }()
	}
	m := new(Measured)
	running, err := c.observe(ctx, &now, ended, m, len(lanes))
	now.Store(stopping)
	if failed := settle(c.Conns, ended, running, err != nil); err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	for _, l := range lanes {
		m.Calls += l.calls
		m.Latency.Add(&l.latency)
		m.Ack.Add(&l.ack)
	}
	return m, nil
}

// observe lets the load warm up, and measures it. It returns how many lanes
// have not ended.
func (c *Closed) observe(ctx context.Context, now *atomic.Int32, ended <-chan error, m *Measured, lanes int) (running int, err error) {
	if lanes, err = wait(ctx, c.Warm, ended, lanes); err != nil {
		return lanes, err
	}
	used, err := c.used()
	if err != nil {
		return lanes, err
	}
	now.Store(measuring)
	begun := time.Now()
	if lanes, err = wait(ctx, c.Measure, ended, lanes); err != nil {
		return lanes, err
	}
	now.Store(stopping)
	m.During = time.Since(begun)
	after, err := c.used()
	m.Used = after.Sub(used)
	return lanes, err
}

func (c *Closed) used() (Used, error) {
	u, err := c.Meter.Read()
	u.Wire = Bytes(c.Conns)
	return u, err
}

// wait waits for a time, unless a lane ends before, which none should.
func wait(ctx context.Context, d time.Duration, ended <-chan error, lanes int) (running int, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return lanes, nil
	case err := <-ended:
		return lanes - 1, err
	case <-ctx.Done():
		return lanes, ctx.Err()
	}
}

// settle waits for the lanes that run, or cuts them off, and returns the first
// error.
func settle(conns []*Conn, ended <-chan error, running int, cut bool) (err error) {
	deadline := time.Now()
	if !cut {
		deadline = deadline.Add(drain)
	}
	for _, conn := range conns {
		_ = conn.tcp.SetDeadline(deadline)
	}
	for range running {
		if failed := <-ended; err == nil {
			err = failed
		}
	}
	for _, conn := range conns {
		_ = conn.tcp.SetDeadline(time.Time{})
	}
	return err
}

// run keeps the window full until the load stops, and then empties it.
func (l *lane) run(start time.Time, now *atomic.Int32) error {
	open := 0
	for slot := range l.sent {
		l.sent[slot] = time.Since(start)
		l.conn.request(l.template, uint16(slot))
		open++
	}
	for open > 0 {
		// What has come is taken before anything is sent.
		if !(l.conn.in != nil && l.conn.more()) {
			if err := l.conn.flush(); err != nil {
				return err
			}
		}
		frame, err := l.conn.read()
		if err != nil {
			return err
		}
		at, phase := time.Since(start), now.Load()
		for a := range Answers(frame) {
			ended, err := a.end()
			if err == nil && int(a.Slot) >= len(l.sent) {
				err = fmt.Errorf("the server answered what was not asked: %s", a.Type)
			}
			if err != nil {
				return err
			}
			took := at - l.sent[a.Slot]
			switch {
			case !ended:
				if phase == measuring && string(a.Type) == "ack" {
					l.ack.Record(took)
				}
				continue
			case phase == measuring:
				l.calls++
				l.latency.Record(took)
			}
			if phase == stopping {
				open--
				continue
			}
			l.sent[a.Slot] = at
			l.conn.request(l.template, a.Slot)
		}
	}
	return nil
}
