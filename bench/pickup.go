package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/bench/internal/jobs"
	"github.com/pay-theory/streamer/bench/internal/latency"
	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/machine"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

// pickupRate is requests a second.
const pickupRate = 500

// picker is one line of the table.
type picker struct {
	name   string
	run    func(ctx context.Context) (*latency.Histogram, error)
	rounds []*latency.Histogram
}

// pickup measures how long it takes from a request to its handler, in turns
// with other queues.
func (b *bench) pickup(ctx context.Context) (_ *table, err error) {
	ours, err := b.start(ctx, peer.Streamer, peer.Options{})
	if err != nil {
		return nil, err
	}
	defer stop(&err, ours)
	var singles []*rival
	for _, r := range rivals() {
		if q, isRiver := r.queue.(*jobs.River); !isRiver || *q == (jobs.River{}) {
			singles = append(singles, r)
		}
	}
	others, err := b.startRivals(ctx, singles)
	if err != nil {
		return nil, err
	}
	defer stop(&err, others.servers...)
	pickers := b.pickers(ours, others)
	var disks []*latency.Histogram
	for round := range b.rounds {
		disk, err := machine.Sync(ctx, b.dir, b.duration/2)
		if err != nil {
			return nil, err
		}
		disks = append(disks, disk)
		for _, p := range pickers {
			b.status.say("%s, round %d of %d", p.name, round+1, b.rounds)
			h, err := p.run(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			p.rounds = append(p.rounds, h)
		}
	}
	t := pickupTable()
	same := func(h *latency.Histogram) *latency.Histogram { return h }
	for _, p := range pickers {
		slower := none()
		if p != pickers[0] {
			slower = ratio(slowness(p.rounds, pickers[0].rounds))
		}
		longest := median(p.rounds, func(h *latency.Histogram) float64 { return float64(h.Max()) })
		n := median(p.rounds, func(h *latency.Histogram) float64 { return float64(h.Count()) })
		t.add(text(p.name), count(n), middle(p.rounds, same, 0.5), middle(p.rounds, same, 0.99), span(time.Duration(longest)), slower)
	}
	t.note("bare sync of 4 KiB in the same rounds: p50 %s, p99 %s", middle(disks, same, 0.5).text, middle(disks, same, 0.99).text)
	t.note("the others' producers and workers are in one process, River and Asynq look every 1 ms; streamer's client and server are two")
	others.note(t)
	return t, nil
}

func pickupTable() *table {
	return &table{
		Title: "from sending a request to its handler's first line, at 500 requests a second in an open loop",
		Goal:  "p50 < 1 ms, p99 < 4 ms",
		columns: []column{
			{"queue", "queue"},
			{"requests", "requests"},
			{"p50", "p50Us"},
			{"p99", "p99Us"},
			{"longest", "maxUs"},
			{"× streamer's p50", "ratio"},
		},
	}
}

// slowness is the median over the rounds of the ratio of their medians to ours.
func slowness(theirs, ours []*latency.Histogram) float64 {
	var shares []float64
	for i := range theirs {
		if least := ours[i].Quantile(0.5); least > 0 {
			shares = append(shares, float64(theirs[i].Quantile(0.5))/float64(least))
		}
	}
	return median(shares, func(f float64) float64 { return f })
}

func (b *bench) pickers(ours *peer.Peer, others *started) (pickers []*picker) {
	for _, kind := range []struct{ name, mode string }{{"streamer, durable", "async"}, {"streamer, inline", ""}} {
		template := load.NewTemplate(peer.Clock, kind.mode, []byte("{}"))
		pickers = append(pickers, &picker{name: kind.name, run: func(ctx context.Context) (*latency.Histogram, error) {
			return b.open(ctx, ours, template, pickupRate, func(t *load.Times, a *load.Answer) time.Duration {
				begun, _ := strconv.ParseInt(string(a.Field("payload")), 10, 64)
				return time.Duration(begun - t.Sent)
			})
		}})
	}
	for _, r := range others.rivals {
		pickers = append(pickers, &picker{name: r.name, run: func(ctx context.Context) (*latency.Histogram, error) {
			o := jobs.Open{Queue: r.queue, Server: r.server, Rate: pickupRate, Warm: b.warm(), Measure: b.duration}
			return o.Run(ctx)
		}})
	}
	return pickers
}
