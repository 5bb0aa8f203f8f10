package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/servers"
	"golang.org/x/sync/errgroup"
)

// reportInterval is that of a handler's reports.
const reportInterval = 100 * time.Millisecond

// progress measures how long what a handler reports takes to its clients, in
// turns with centrifuge.
func (b *bench) progress(ctx context.Context) (*table, error) {
	n := 1000
	if b.quick {
		n = 10
	}
	ours, err := b.start(ctx, servers.Streamer, "", servers.Options{Workers: n})
	if err != nil {
		return nil, err
	}
	theirs, err := b.start(ctx, servers.Centrifuge, "", servers.Options{})
	if err != nil {
		return nil, err
	}
	t := &table{
		title: "from a handler's report to its clients; 10 reports per second on each stream",
		goal:  "1,000 calls: p99 < 100 ms, then < 20 ms",
		group: "streams × subscribers", name: "server",
		columns: []column{medians("of those made", value("share"), ratio), medians("received/s", (*load.Result).Rate, count), p50, p99, longest},
	}
	t.note("progress that newer progress replaces within 50 ms is not sent: that is the protocol's rule. Chunks are stored and synced first")
	t.note("centrifuge publishes in its server's process, without history. It serves any number of channels per connection, presence, more than")
	t.note("  one node; streamer's streams belong to calls, and can be resumed")
	d := &delivery{ours: ours, theirs: theirs, n: n, times: max(2, int(2*b.duration/reportInterval))}
	each, one := fmt.Sprintf("%s × 1", count(float64(n))), fmt.Sprintf("1 × %s", count(float64(n)))
	err = b.measure(ctx, t,
		&line{group: each, name: "streamer, progress", run: d.calls(false, false)},
		&line{group: each, name: "centrifuge", run: d.channels(n)})
	if err != nil {
		return nil, err
	}
	return t, b.measure(ctx, t,
		&line{group: one, name: "streamer, progress", run: d.calls(true, false)},
		&line{group: one, name: "streamer, chunks", run: d.calls(true, true)},
		&line{group: one, name: "centrifuge", run: d.channels(1)})
}

// delivery measures how reports reach clients.
type delivery struct {
	ours, theirs *servers.Server
	// n is how many streams there are, or subscribers to one; times how many
	// reports of each are measured.
	n, times int
}

// receiver measures the reports that were made since all follow.
type receiver struct {
	*barrier
	result *load.Result
}

func newReceiver(n int) *receiver { return &receiver{newBarrier(n), load.NewResult()} }

// take takes a report, made at a time and received at another.
func (r *receiver) take(at, made int64) {
	if from := r.passed.Load(); from > 0 && made >= from {
		r.result.Latency.Record(time.Duration(at - made))
	}
}

// end returns the result when all have ended.
func (r *receiver) end(n int, err error) (*load.Result, error) {
	r.result.During = time.Since(time.Unix(0, r.passed.Load()))
	made := float64(n) * math.Floor(float64(r.result.During)/float64(reportInterval))
	r.result.Values["share"] = r.result.Calls() / max(made, 1)
	return r.result, err
}

// follow sends a message on a connection, and takes reports until the call ends.
func (r *receiver) follow(c *load.Conn, text []byte) error {
	arrived := false
	return c.Ask(text, func(frame []byte) (bool, error) {
		at := time.Now().UnixNano()
		// What a snapshot holds looks like messages by itself, which is right.
		for a := range load.Answers(frame) {
			switch kind := string(a.Type); {
			case (kind == "ack" || kind == "snapshot") && !arrived:
				arrived = true
				r.arrive()
			case kind == "progress":
				r.take(at, a.Number("message"))
			case kind == "chunk":
				r.take(at, a.Number("data"))
			}
			if ended, err := a.Ends(); ended || err != nil {
				return ended, err
			}
		}
		return false, nil
	})
}

// calls has a call on each connection, or with shared all of them follow one
// call.
func (d *delivery) calls(shared, chunks bool) func(context.Context) (*load.Result, error) {
	return func(ctx context.Context) (*load.Result, error) {
		// What is reported before all follow is not measured.
		before := int(time.Second / reportInterval)
		template, err := load.NewTemplate(servers.Report, "", servers.Pace{
			Reports: d.times + before, IntervalMs: int(reportInterval.Milliseconds()), Chunks: chunks,
		})
		if err != nil {
			return nil, err
		}
		conns, err := load.DialAll(ctx, d.ours.Target, d.n+1)
		if err != nil {
			return nil, err
		}
		defer load.CloseAll(conns)
		message := template.Request
		if shared {
			// The last is the caller's own, which is not read after the ack.
			err := load.Each(ctx, conns[d.n:], func(_ int, c *load.Conn) error {
				return c.Ask(template.Request(), func(frame []byte) (bool, error) {
					for a := range load.Answers(frame) {
						id := a.ID()
						message = func() []byte { return fmt.Appendf(nil, `{"type":"subscribe","ref":"1","id":%q}`, id) }
					}
					return true, nil
				})
			})
			if err != nil {
				return nil, err
			}
		}
		r := newReceiver(d.n)
		return r.end(d.n, load.Each(ctx, conns[:d.n], func(_ int, c *load.Conn) error { return r.follow(c, message()) }))
	}
}

// channels has every connection subscribe to one of so many channels of
// centrifuge's, in turns.
func (d *delivery) channels(channels int) func(context.Context) (*load.Result, error) {
	return func(ctx context.Context) (*load.Result, error) {
		conns, err := load.DialAll(ctx, d.theirs.Target, d.n)
		if err != nil {
			return nil, err
		}
		defer load.CloseAll(conns)
		r := newReceiver(d.n)
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error {
			if err := r.wait(ctx); err != nil {
				return err
			}
			path := fmt.Sprintf("/publish?channels=%d&times=%d&every=%v", channels, d.times, reportInterval)
			return d.theirs.Control(ctx, path, io.Discard)
		})
		group.Go(func() error {
			return load.Each(ctx, conns, func(i int, c *load.Conn) error {
				received := 0
				return load.Centrifuge(c, strconv.Itoa(i%channels), r.arrive, func(at, made int64) bool {
					r.take(at, made)
					received++
					return received == d.times
				})
			})
		})
		return r.end(d.n, group.Wait())
	}
}
