package main

import (
	"context"
	"fmt"

	"github.com/pay-theory/streamer/bench/internal/latency"
	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/machine"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

var durableShapes = []shape{{1, 1}, {64, 1}, {1000, 1}, {64, 16}}

// durableRound is one round: a load, and the disk just before it.
type durableRound struct {
	*load.Measured
	disk *latency.Histogram
}

// perSync is calls a second in a ratio to the syncs a second that the disk can
// do one after the other.
func (r *durableRound) perSync() float64 {
	return r.Rate() * r.disk.Quantile(0.5).Seconds()
}

// ackPerSync is the median ack in a ratio to the median sync.
func (r *durableRound) ackPerSync() float64 {
	if r.disk.Quantile(0.5) == 0 {
		return 0
	}
	return float64(r.Ack.Quantile(0.5)) / float64(r.disk.Quantile(0.5))
}

// durable measures whole lives of calls that are stored first.
func (b *bench) durable(ctx context.Context) (_ *table, err error) {
	ours, err := b.start(ctx, peer.Streamer, peer.Options{})
	if err != nil {
		return nil, err
	}
	defer stop(&err, ours)
	t := &table{
		Title: "calls that are stored first (mode async), from the request to its result; echo, a request of 300 B; each stored twice, with fsync",
		Goal:  "≥ 10,000 calls a second, then 15,000; at low load, ack p50 ≤ 2 × the disk's bare sync",
		columns: []column{
			{"connections × in flight", "shape"},
			{"calls/s", "callsPerSecond"},
			{"calls per bare sync", "callsPerSync"},
			{"ack p50", "ackP50Us"},
			{"× bare sync", "ackRatio"},
			{"p50", "p50Us"},
			{"p99", "p99Us"},
			{"server CPU/call", "cpuUs"},
			{"bare sync p50", "syncP50Us"},
			{"bare sync p99", "syncP99Us"},
		},
	}
	for _, s := range b.small(durableShapes) {
		lives, err := b.durableShape(ctx, ours, s)
		if err != nil {
			return nil, err
		}
		measured := make(rounds, len(lives))
		for i := range lives {
			measured[i] = lives[i].Measured
		}
		of := func(f func(*durableRound) float64) float64 { return median(lives, f) }
		t.add(
			text(s.String()), count(measured.rate()), ratio(of((*durableRound).perSync)),
			middle(lives, func(r *durableRound) *latency.Histogram { return &r.Ack }, 0.5), ratio(of((*durableRound).ackPerSync)),
			span(measured.quantile(0.5)), span(measured.quantile(0.99)), span(measured.cpu()),
			middle(lives, func(r *durableRound) *latency.Histogram { return r.disk }, 0.5),
			middle(lives, func(r *durableRound) *latency.Histogram { return r.disk }, 0.99),
		)
	}
	t.note("bare sync: 4 KiB written over an old page of a file in the same directory, and fdatasync; one after the other, before each load")
	return t, nil
}

func (b *bench) durableShape(ctx context.Context, p *peer.Peer, s shape) ([]*durableRound, error) {
	template, err := request("async")
	if err != nil {
		return nil, err
	}
	conns, err := load.DialAll(ctx, p.Target, s.conns)
	if err != nil {
		return nil, err
	}
	defer load.CloseAll(conns)
	var rounds []*durableRound
	for i := range b.rounds {
		b.status.say("durable %v, round %d of %d", s, i+1, b.rounds)
		disk, err := machine.Sync(ctx, b.dir, b.duration/2)
		if err != nil {
			return nil, err
		}
		m, err := b.closed(ctx, p, conns, template, s.window)
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, &durableRound{m, disk})
	}
	return rounds, b.profile(ctx, p, fmt.Sprintf("durable-%dx%d", s.conns, s.window), func() error {
		_, err := b.closed(ctx, p, conns, template, s.window)
		return err
	})
}
