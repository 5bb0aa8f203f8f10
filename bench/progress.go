package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/bench/internal/latency"
	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

// Of the delivery that is measured.
const (
	progressCalls    = 1000
	progressInterval = 100 * time.Millisecond
)

// delivery is one line of the table.
type delivery struct {
	shape, name string
	run         func(ctx context.Context) (*told, error)
	rounds      []*told
}

// told is what reached clients.
type told struct {
	latency.Histogram
	during time.Duration
	// made is how many were to be told.
	made int
}

// progress measures how long what a handler reports takes to its clients, in
// turns with centrifuge.
func (b *bench) progress(ctx context.Context) (_ *table, err error) {
	n := progressCalls
	if b.quick {
		n = 10
	}
	ours, err := b.start(ctx, peer.Streamer, peer.Options{Workers: n})
	if err != nil {
		return nil, err
	}
	defer stop(&err, ours)
	theirs, err := b.start(ctx, peer.Centrifuge, peer.Options{})
	if err != nil {
		return nil, err
	}
	defer stop(&err, theirs)
	d := &deliverer{bench: b, ours: ours, theirs: theirs, n: n, times: max(2, int(2*b.duration/progressInterval))}
	lines := d.lines()
	for round := range b.rounds {
		for _, l := range lines {
			b.status.say("%s, %s, round %d of %d", l.shape, l.name, round+1, b.rounds)
			seen, err := l.run(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", l.shape, l.name, err)
			}
			l.rounds = append(l.rounds, seen)
		}
	}
	t := &table{
		Title: "from a handler's report to its clients; 10 reports a second on each stream",
		Goal:  "1,000 calls: p99 < 100 ms, then < 20 ms",
		columns: []column{
			{"streams × followers", "shape"},
			{"server", "server"},
			{"of those made", "share"},
			{"told/s", "toldPerSecond"},
			{"p50", "p50Us"},
			{"p99", "p99Us"},
			{"longest", "maxUs"},
		},
	}
	shape := ""
	for _, l := range lines {
		of := func(f func(*told) float64) float64 { return median(l.rounds, f) }
		hist := func(s *told) *latency.Histogram { return &s.Histogram }
		label := l.shape
		if label == shape {
			label = ""
		}
		shape = l.shape
		t.add(
			text(label), text(l.name), ratio(of(func(s *told) float64 { return float64(s.Count()) / float64(s.made) })),
			count(of(func(s *told) float64 { return float64(s.Count()) / s.during.Seconds() })),
			middle(l.rounds, hist, 0.5), middle(l.rounds, hist, 0.99),
			span(time.Duration(of(func(s *told) float64 { return float64(s.Max()) }))),
		)
	}
	t.note("progress that a newer one overtakes within 50 ms is not told: that is the protocol's rule. Chunks are stored and synced first")
	t.note("centrifuge publishes in its server's process, without history. It serves any number of channels a connection, presence, more than")
	t.note("  one node; streamer's streams belong to calls, and can be resumed")
	return t, nil
}

// deliverer runs what is measured.
type deliverer struct {
	*bench
	ours, theirs *peer.Peer
	// n is how many streams there are, or followers of one; times how many
	// reports each makes.
	n, times int
}

func (d *deliverer) lines() []*delivery {
	each, one := fmt.Sprintf("%s × 1", count(float64(d.n)).text), fmt.Sprintf("1 × %s", count(float64(d.n)).text)
	return []*delivery{
		{shape: each, name: "streamer, progress", run: d.calls},
		{shape: each, name: "centrifuge", run: func(ctx context.Context) (*told, error) { return d.channels(ctx, d.n) }},
		{shape: one, name: "streamer, progress", run: func(ctx context.Context) (*told, error) { return d.followers(ctx, false) }},
		{shape: one, name: "streamer, chunks", run: func(ctx context.Context) (*told, error) { return d.followers(ctx, true) }},
		{shape: one, name: "centrifuge", run: func(ctx context.Context) (*told, error) { return d.channels(ctx, 1) }},
	}
}

func (d *deliverer) request(reports int, chunks bool) (load.Template, error) {
	pace := peer.Pace{Reports: reports, IntervalMs: int(progressInterval.Milliseconds()), Chunks: chunks}
	payload, err := json.Marshal(pace)
	return load.NewTemplate(peer.Report, "", payload), err
}

// sum adds up what connections have seen.
func sum(seen []latency.Histogram, during time.Duration, made int) *told {
	t := &told{during: during, made: made}
	for i := range seen {
		t.Add(&seen[i])
	}
	return t
}

// calls has a call on each connection.
func (d *deliverer) calls(ctx context.Context) (*told, error) {
	conns, err := load.DialAll(ctx, d.ours.Target, d.n)
	if err != nil {
		return nil, err
	}
	defer load.CloseAll(conns)
	template, err := d.request(d.times, false)
	if err != nil {
		return nil, err
	}
	seen := make([]latency.Histogram, d.n)
	begun := time.Now()
	err = load.Follow(ctx, conns, template, func(place int, at int64, a *load.Answer) {
		if string(a.Type) == "progress" {
			seen[place].Record(since(at, a.Field("message")))
		}
	})
	if err != nil {
		return nil, err
	}
	return sum(seen, time.Since(begun), d.n*d.times), nil
}

// since is the time from a report, whose text is its time.
func since(at int64, text []byte) time.Duration {
	reported, _ := strconv.ParseInt(string(text), 10, 64)
	return time.Duration(at - reported)
}

// followers has all connections follow one call. What is reported before the
// last of them follows is not measured.
func (d *deliverer) followers(ctx context.Context, chunks bool) (*told, error) {
	conns, err := load.DialAll(ctx, d.ours.Target, d.n+1)
	if err != nil {
		return nil, err
	}
	defer load.CloseAll(conns)
	// The first is the caller's own.
	lead := int(time.Second / progressInterval)
	template, err := d.request(d.times+lead, chunks)
	if err != nil {
		return nil, err
	}
	id := make(chan string, 1)
	followed := newBarrier(d.n)
	f := &follower{kind: "progress", field: "message", from: followed.passed, seen: make([]latency.Histogram, d.n)}
	if chunks {
		f.kind, f.field = "chunk", "data"
	}
	err = load.Each(ctx, conns, func(place int, c *load.Conn) error {
		if place == 0 {
			return c.Ask(template.Request(), func(frame []byte) (bool, error) {
				for a := range load.Answers(frame) {
					if string(a.Type) == "ack" {
						id <- a.ID()
					}
					if ended(&a) {
						return true, nil
					}
				}
				return false, nil
			})
		}
		select {
		case known := <-id:
			id <- known
			return f.follow(c, place-1, known, followed.arrive)
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return nil, err
	}
	during := time.Since(time.Unix(0, followed.passed.Load()))
	return sum(f.seen, during, d.n*int(during/progressInterval)), nil
}

// ended tells whether a message ends its stream.
func ended(a *load.Answer) bool { return string(a.Type) == "result" || string(a.Type) == "error" }

// follower follows one call on each connection.
type follower struct {
	kind, field string
	// from is when everybody follows, in Unix nanoseconds; 0: not yet.
	from *atomic.Int64
	seen []latency.Histogram
}

func (f *follower) follow(c *load.Conn, place int, id string, arrived func()) error {
	subscribe := fmt.Appendf(nil, `{"type":"subscribe","ref":"1","id":%q}`, id)
	return c.Ask(subscribe, func(frame []byte) (bool, error) {
		at := time.Now().UnixNano()
		// What a snapshot holds looks like messages by itself, which is right.
		for a := range load.Answers(frame) {
			switch {
			case string(a.Type) == "snapshot":
				arrived()
			case ended(&a):
				return true, nil
			case string(a.Type) == f.kind:
				text := a.Field(f.field)
				if reported, _ := strconv.ParseInt(string(text), 10, 64); f.from.Load() > 0 && reported >= f.from.Load() {
					f.seen[place].Record(since(at, text))
				}
			case string(a.Type) == "lag":
				return false, errors.New("a follower fell behind")
			}
		}
		return false, nil
	})
}

// barrier notes when all have arrived.
type barrier struct {
	left   atomic.Int64
	passed *atomic.Int64 // in Unix nanoseconds; 0: not yet
	all    chan struct{} // closed then
}

func newBarrier(n int) *barrier {
	b := &barrier{passed: new(atomic.Int64), all: make(chan struct{})}
	b.left.Store(int64(n))
	return b
}

func (b *barrier) arrive() {
	if b.left.Add(-1) == 0 {
		b.passed.Store(time.Now().UnixNano())
		close(b.all)
	}
}

// channels has every connection subscribe to one of so many channels of
// centrifuge's, in turns.
func (d *deliverer) channels(ctx context.Context, channels int) (*told, error) {
	conns, err := load.DialAll(ctx, d.theirs.Target, d.n)
	if err != nil {
		return nil, err
	}
	defer load.CloseAll(conns)
	seen := make([]latency.Histogram, d.n)
	subscribed := newBarrier(d.n)
	published := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-subscribed.all:
			published <- d.theirs.Publish(ctx, channels, d.times, progressInterval)
		case <-ctx.Done():
			published <- ctx.Err()
		}
	}()
	err = load.Each(ctx, conns, func(place int, c *load.Conn) error {
		return load.Centrifuge(c, strconv.Itoa(place%channels), subscribed.arrive, func(at int64, data []byte) bool {
			seen[place].Record(since(at, data))
			return int(seen[place].Count()) == d.times
		})
	})
	if err != nil {
		cancel()
		<-published //nolint:errcheck // it was cut off
		return nil, err
	}
	if err := <-published; err != nil {
		return nil, err
	}
	return sum(seen, time.Since(time.Unix(0, subscribed.passed.Load())), d.n*d.times), nil
}
