package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pay-theory/streamer/bench/internal/latency"
	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

var inlineShapes = []shape{{1, 1}, {64, 1}, {1000, 1}, {64, 16}}

// inline measures calls that are answered at once, beside the bare echo.
func (b *bench) inline(ctx context.Context) (_ *table, err error) {
	ours, err := b.start(ctx, peer.Streamer, peer.Options{})
	if err != nil {
		return nil, err
	}
	defer stop(&err, ours)
	bare, err := b.start(ctx, peer.Bare, peer.Options{})
	if err != nil {
		return nil, err
	}
	defer stop(&err, bare)
	t := &table{
		Title: "calls that are answered at once; echo, a request of 300 B",
		Goal:  "≥ 0.7 × the bare echo on gorilla/websocket and encoding/json; p99 < 50 ms at half of the peak",
		columns: []column{
			{"connections × in flight", "shape"},
			{"server", "server"},
			{"calls/s", "callsPerSecond"},
			{"× bare", "ratio"},
			{"p50", "p50Us"},
			{"p99", "p99Us"},
			{"server CPU/call", "cpuUs"},
			{"× bare", "cpuRatio"},
		},
	}
	peak := 0.0
	for _, s := range b.small(inlineShapes) {
		p := pair{bench: b, ours: ours, bare: bare, shape: s}
		if err := p.measure(ctx); err != nil {
			return nil, err
		}
		p.rows(t)
		peak = max(peak, p.oursRounds.rate())
	}
	return t, b.halfOfPeak(ctx, t, peak/2, ours, bare)
}

// pair measures both servers in turns, so that what else the machine does
// meets both.
type pair struct {
	*bench
	ours, bare             *peer.Peer
	shape                  shape
	oursRounds, bareRounds rounds
}

func (p *pair) measure(ctx context.Context) error {
	template, err := request("")
	if err != nil {
		return err
	}
	ours, err := load.DialAll(ctx, p.ours.Target, p.shape.conns)
	if err != nil {
		return err
	}
	defer load.CloseAll(ours)
	bare, err := load.DialAll(ctx, p.bare.Target, p.shape.conns)
	if err != nil {
		return err
	}
	defer load.CloseAll(bare)
	for round := range p.rounds {
		p.status.say("inline %v, round %d of %d", p.shape, round+1, p.rounds)
		m, err := p.closed(ctx, p.ours, ours, template, p.shape.window)
		if err != nil {
			return err
		}
		p.oursRounds = append(p.oursRounds, m)
		if m, err = p.closed(ctx, p.bare, bare, template, p.shape.window); err != nil {
			return fmt.Errorf("bare echo: %w", err)
		}
		p.bareRounds = append(p.bareRounds, m)
	}
	return p.profile(ctx, p.ours, fmt.Sprintf("inline-%dx%d", p.shape.conns, p.shape.window), func() error {
		_, err := p.closed(ctx, p.ours, ours, template, p.shape.window)
		return err
	})
}

func (p *pair) rows(t *table) {
	r := p.oursRounds
	calls, used := r.share(p.bareRounds, (*load.Measured).Rate), r.share(p.bareRounds, (*load.Measured).CPUPerCall)
	t.add(text(p.shape.String()), text("streamer"), count(r.rate()), ratio(calls), span(r.quantile(0.5)), span(r.quantile(0.99)), span(r.cpu()), ratio(used))
	r = p.bareRounds
	t.add(text(""), text("bare echo"), count(r.rate()), none(), span(r.quantile(0.5)), span(r.quantile(0.99)), span(r.cpu()), none())
}

// halfOfPeak measures the latency of both servers in an open loop at the same
// rate.
func (b *bench) halfOfPeak(ctx context.Context, t *table, rate float64, ours, bare *peer.Peer) error {
	template, err := request("")
	if err != nil {
		return err
	}
	for i, p := range []*peer.Peer{ours, bare} {
		b.status.say("inline at half of the peak")
		h, err := b.open(ctx, p, template, rate, load.SinceDue)
		if err != nil {
			return errors.Join(errors.New("at half of the peak"), err)
		}
		labels := [][]string{{"half of the peak", "streamer"}, {"", "bare echo"}}[i]
		t.add(text(labels[0]), text(labels[1]), count(rate), none(), span(h.Quantile(0.5)), span(h.Quantile(0.99)), none(), none())
	}
	t.note("half of the peak: an open loop on %d connections at half of streamer's best rate above, latency since the time each request was due", openConns)
	return nil
}

// openConns is how many connections an open loop has.
const openConns = 64

// open measures an open loop.
func (b *bench) open(ctx context.Context, p *peer.Peer, t load.Template, rate float64, took func(*load.Times, *load.Answer) time.Duration) (*latency.Histogram, error) {
	conns, err := load.DialAll(ctx, p.Target, openConns)
	if err != nil {
		return nil, err
	}
	defer load.CloseAll(conns)
	o := load.Open{Conns: conns, Template: t, Rate: rate, Warm: b.warm(), Measure: b.duration, Took: took}
	return o.Run(ctx)
}
