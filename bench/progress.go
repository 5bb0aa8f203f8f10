package main

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/bench/internal/latency"
	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

// Of the progress that is measured.
const (
	progressCalls    = 1000
	progressInterval = 100 * time.Millisecond
)

// progress measures how long a report of progress takes to its client.
func (b *bench) progress(ctx context.Context) (_ *table, err error) {
	calls := progressCalls
	if b.quick {
		calls = 10
	}
	ours, err := b.start(ctx, peer.Streamer, peer.Options{Workers: calls})
	if err != nil {
		return nil, err
	}
	defer stop(&err, ours)
	conns, err := load.DialAll(ctx, ours.Target, calls)
	if err != nil {
		return nil, err
	}
	defer load.CloseAll(conns)
	pace := peer.Pace{Reports: max(2, int(2*b.duration/progressInterval)), IntervalMs: int(progressInterval.Milliseconds())}
	payload, err := json.Marshal(pace)
	if err != nil {
		return nil, err
	}
	b.status.say("progress of %d calls", calls)
	seen := make([]latency.Histogram, calls)
	begun := time.Now()
	err = load.Follow(ctx, conns, load.NewTemplate(peer.Report, "", payload), func(place int, at int64, a *load.Answer) {
		if string(a.Type) != "progress" {
			return
		}
		reported, _ := strconv.ParseInt(string(a.Field("message")), 10, 64)
		seen[place].Record(time.Duration(at - reported))
	})
	if err != nil {
		return nil, err
	}
	took := time.Since(begun)
	sum := new(latency.Histogram)
	for i := range seen {
		sum.Add(&seen[i])
	}
	t := &table{
		Title: "from a handler's report of progress to its client; a call on each connection, 10 reports a second each",
		Goal:  "1,000 calls: p99 < 100 ms, then < 20 ms",
		columns: []column{
			{"calls", "calls"},
			{"reports told", "told"},
			{"of those made", "share"},
			{"told/s", "toldPerSecond"},
			{"p50", "p50Us"},
			{"p99", "p99Us"},
			{"longest", "maxUs"},
		},
	}
	told := float64(sum.Count())
	t.add(
		count(float64(calls)), count(told), ratio(told/float64(calls*pace.Reports)), count(told/took.Seconds()),
		span(sum.Quantile(0.5)), span(sum.Quantile(0.99)), span(sum.Max()),
	)
	t.note("reports that a newer one overtakes within 50 ms are not told: that is the protocol's rule")
	return t, nil
}
