package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/pay-theory/streamer/bench/internal/latency"
	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

// Of clean-up that is measured.
const (
	// cleanupRate is durable calls a second.
	cleanupRate = 1000
	// cleanupStock is how many expired calls there are for each second of the
	// load: more than are deleted meanwhile.
	cleanupStock = 40_000
	// logEvery is how often the log's size is looked at.
	logEvery = 10 * time.Millisecond
)

// cleaning is one round with or without clean-up.
type cleaning struct {
	*latency.Histogram
	// log is the largest size of the write-ahead log that was seen, deleted is
	// how many calls a second were deleted.
	log, deleted float64
}

// cleanup measures durable calls while expired ones are deleted.
func (b *bench) cleanup(ctx context.Context) (_ *table, err error) {
	stocked, err := b.place("stock")
	if err != nil {
		return nil, err
	}
	n := int(cleanupStock * (b.duration + b.warm()).Seconds())
	b.status.say("storing %d calls", n)
	// The server keeps calls for 7 days after their end.
	stock := &peer.Stock{From: time.Now().Add(-10 * 24 * time.Hour)}
	if err := stock.Fill(ctx, stocked, n); err != nil {
		return nil, err
	}
	lines := []struct {
		name   string
		clean  bool
		rounds []*cleaning
	}{{name: "none"}, {name: "of expired calls", clean: true}}
	for round := range b.rounds {
		for i := range lines {
			b.status.say("clean-up: %s, round %d of %d", lines[i].name, round+1, b.rounds)
			c, err := b.cleaning(ctx, stocked, lines[i].clean)
			if err != nil {
				return nil, err
			}
			lines[i].rounds = append(lines[i].rounds, c)
		}
	}
	t := &table{
		Title: fmt.Sprintf("durable calls at 1,000 a second in an open loop, while of %s expired calls those are deleted whose time is over", count(float64(n)).text),
		columns: []column{
			{"clean-up", "cleanup"},
			{"calls", "calls"},
			{"p50", "p50Us"},
			{"p99", "p99Us"},
			{"longest", "maxUs"},
			{"deleted/s", "deletedPerSecond"},
			{"log at most", "logKB"},
		},
	}
	for _, l := range lines {
		of := func(f func(*cleaning) float64) float64 { return median(l.rounds, f) }
		hist := func(c *cleaning) *latency.Histogram { return c.Histogram }
		deleted := none()
		if l.clean {
			deleted = count(of(func(c *cleaning) float64 { return c.deleted }))
		}
		t.add(
			text(l.name), count(of(func(c *cleaning) float64 { return float64(c.Count()) })), middle(l.rounds, hist, 0.5), middle(l.rounds, hist, 0.99),
			span(time.Duration(of(func(c *cleaning) float64 { return float64(c.Max()) }))), deleted, kilobytes(of(func(c *cleaning) float64 { return c.log })),
		)
	}
	t.note("latency since the time each request was due; log: the write-ahead log's file, looked at every 10 ms; both lines begin with the same file")
	return t, nil
}

func (b *bench) cleaning(ctx context.Context, stocked string, clean bool) (_ *cleaning, err error) {
	dir, err := b.place(peer.Streamer)
	if err != nil {
		return nil, err
	}
	if err := copyFile(peer.Database(stocked), peer.Database(dir)); err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	p, err := peer.Start(ctx, peer.Streamer, dir, peer.Options{Expire: true})
	if err != nil {
		return nil, err
	}
	defer stop(&err, p)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := new(cleaning)
	watched, cleaned := make(chan float64, 1), make(chan error, 1)
	go func() { watched <- watch(ctx, peer.Database(dir)+"-wal") }()
	begun := time.Now()
	deleted := 0
	if clean {
		go func() {
			n, err := p.Expire(ctx)
			deleted = n
			cleaned <- err
		}()
	} else {
		cleaned <- nil
	}
	template, err := request("async")
	if err == nil {
		c.Histogram, err = b.open(ctx, p, template, cleanupRate, load.SinceDue)
	}
	during := time.Since(begun)
	cancel()
	c.log = <-watched
	if failed := <-cleaned; err == nil && failed != nil && !errors.Is(failed, context.Canceled) {
		err = failed
	}
	c.deleted = float64(deleted) / during.Seconds()
	return c, err
}

// watch returns the largest size that a file had until ctx ends.
func watch(ctx context.Context, path string) (largest float64) {
	ticker := time.NewTicker(logEvery)
	defer ticker.Stop()
	for {
		if info, err := os.Stat(path); err == nil {
			largest = max(largest, float64(info.Size()))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return largest
		}
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
