package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/servers"
	"golang.org/x/sync/errgroup"
)

// reportInterval is that of a handler's reports, extraReports how many are made
// besides those that are measured: before all follow, and at the end.
const (
	reportInterval = 100 * time.Millisecond
	extraReports   = 20
)

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
	t.addNote("progress that newer progress replaces within 50 ms is not sent: that is the protocol's rule. Chunks are stored and synced first")
	t.addNote("centrifuge publishes in its server's process, without history. It serves any number of channels per connection, presence, more than")
	t.addNote("  one node; streamer's streams belong to calls, and can be resumed")
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

// receiver measures the reports that were made within a time since all follow.
type receiver struct {
	*barrier
	window time.Duration
	result *load.Result
}

func (d *delivery) receiver() *receiver {
	return &receiver{newBarrier(d.n), time.Duration(d.times) * reportInterval, load.NewResult()}
}

// recordReport takes a report, made at a time and received at another. It returns true
// after the last that is measured.
func (r *receiver) recordReport(at, made int64) bool {
	from := r.passed.Load()
	end := from + int64(r.window)
	if from > 0 && from <= made && made < end {
		r.result.Latency.Record(time.Duration(at - made))
	}
	return from > 0 && made >= end
}

func (d *delivery) finish(r *receiver, err error) (*load.Result, error) {
	r.result.During = r.window
	r.result.Values["share"] = r.result.Calls() / float64(d.n*d.times)
	return r.result, err
}

// follow sends a message on a connection, and takes reports until the call ends.
func (r *receiver) follow(c *load.Conn, text []byte) error {
	arrived := false
	return c.Exchange(text, func(frame []byte) (bool, error) {
		at := time.Now().UnixNano()
		// What a snapshot holds looks like messages by itself, which is right.
		for a := range load.Answers(frame) {
			switch kind := string(a.Type); {
			case (kind == "ack" || kind == "snapshot") && !arrived:
				arrived = true
				r.arrive()
			case kind == "progress":
				r.recordReport(at, a.Number("message"))
			case kind == "chunk":
				r.recordReport(at, a.Number("data"))
			}
			if ended, err := a.IsLast(); ended || err != nil {
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
		template, err := load.NewTemplate(servers.Report, "", servers.Params{
			Reports: d.times + extraReports, IntervalMs: int(reportInterval.Milliseconds()), Chunks: chunks,
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
			err := load.ForEach(ctx, conns[d.n:], func(_ int, c *load.Conn) error {
				return c.Exchange(template.Request(), func(frame []byte) (bool, error) {
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
		r := d.receiver()
		return d.finish(r, load.ForEach(ctx, conns[:d.n], func(_ int, c *load.Conn) error { return r.follow(c, message()) }))
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
		r := d.receiver()
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error {
			if err := r.awaitAll(ctx); err != nil {
				return err
			}
			path := fmt.Sprintf("/publish?channels=%d&times=%d&every=%v", channels, d.times+extraReports, reportInterval)
			_, err := d.theirs.Control(ctx, path)
			return err
		})
		group.Go(func() error {
			return load.ForEach(ctx, conns, func(i int, c *load.Conn) error {
				return load.Centrifuge(c, strconv.Itoa(i%channels), r.arrive, r.recordReport)
			})
		})
		return d.finish(r, group.Wait())
	}
}
