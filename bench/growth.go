package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/pay-theory/streamer/bench/internal/latency"
	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/machine"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

// connectionGrowth measures what a call costs with more and more connections.
func (b *bench) connectionGrowth(ctx context.Context) (_ *table, err error) {
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
		Title: "what a call costs as connections grow; one call in flight on each",
		columns: []column{
			{"connections", "connections"},
			{"inline/s", "inlinePerSecond"},
			{"× bare", "ratio"},
			{"p50", "inlineP50Us"},
			{"server CPU/call", "inlineCPUUs"},
			{"× bare", "inlineCPURatio"},
			{"durable/s", "durablePerSecond"},
			{"p50", "durableP50Us"},
			{"server CPU/call", "durableCPUUs"},
			{"wire/call", "wireBytes"},
			{"disk/call", "diskBytes"},
		},
	}
	most := b.bounded(t)
	for n := 1; ; n *= 10 {
		n = min(n, most)
		inline, durable, yardstick, err := b.withConnections(ctx, ours, bare, n)
		if err != nil {
			return nil, fmt.Errorf("%d connections: %w", n, err)
		}
		t.add(
			count(float64(n)), count(inline.rate()), ratio(inline.share(yardstick, (*load.Measured).Rate)), span(inline.quantile(0.5)), span(inline.cpu()),
			ratio(inline.share(yardstick, (*load.Measured).CPUPerCall)), count(durable.rate()), span(durable.quantile(0.5)), span(durable.cpu()),
			size(durable.of((*load.Measured).WirePerCall)), size(durable.of((*load.Measured).WrittenPerCall)),
		)
		if n == most {
			break
		}
	}
	t.note("bare: the echo on gorilla/websocket with as many connections, in the same rounds")
	return t, nil
}

// withConnections measures inline and durable calls and the bare echo in turns.
func (b *bench) withConnections(ctx context.Context, ours, bare *peer.Peer, n int) (inline, durable, yardstick rounds, err error) {
	loads := []struct {
		to    *peer.Peer
		mode  string
		named string
		into  *rounds
	}{{ours, "", "inline", &inline}, {bare, "", "bare echo", &yardstick}, {ours, "async", "durable", &durable}}
	// A round has to see each connection's calls end a few times.
	longer := *b
	options := *b.options
	options.duration = max(b.duration, time.Duration(n)*400*time.Microsecond)
	longer.options = &options
	for round := range b.rounds {
		for _, l := range loads {
			b.status.say("%d connections, %s, round %d of %d", n, l.named, round+1, b.rounds)
			m, err := longer.once(ctx, l.to, l.mode, shape{n, 1})
			if err != nil {
				return nil, nil, nil, fmt.Errorf("%s: %w", l.named, err)
			}
			*l.into = append(*l.into, m)
		}
	}
	return inline, durable, yardstick, nil
}

// once measures one closed loop on connections of its own.
func (b *bench) once(ctx context.Context, p *peer.Peer, mode string, s shape) (*load.Measured, error) {
	template, err := request(mode)
	if err != nil {
		return nil, err
	}
	conns, err := load.DialAll(ctx, p.Target, s.conns)
	if err != nil {
		return nil, err
	}
	defer load.CloseAll(conns)
	return b.closed(ctx, p, conns, template, s.window)
}

// storedShape is the load while much is stored.
var storedShape = shape{64, 1}

// storedGrowth measures a server that finds more and more calls in its file.
func (b *bench) storedGrowth(ctx context.Context) (_ *table, err error) {
	dir, err := b.place(peer.Streamer)
	if err != nil {
		return nil, err
	}
	t := &table{
		Title: "a server with so many calls in its file, as they grow; loads on 64 connections",
		columns: []column{
			{"stored calls", "stored"},
			{"file", "fileKB"},
			{"starts in", "startUs"},
			{"RSS", "rssKB"},
			{"durable/s", "durablePerSecond"},
			{"p99", "durableP99Us"},
			{"inline/s", "inlinePerSecond"},
			{"inline CPU/call", "inlineCPUUs"},
			{"list p50", "listP50Us"},
			{"list p99", "listP99Us"},
			{"subscribe p50", "subscribeP50Us"},
			{"subscribe p99", "subscribeP99Us"},
		},
	}
	stock := &peer.Stock{From: time.Now().Add(-24 * time.Hour)}
	for n := min(1000, b.stored); ; n *= 10 {
		n = min(n, b.stored)
		b.status.say("storing %d calls", n)
		if err := stock.Fill(ctx, dir, n); err != nil {
			return nil, err
		}
		row, err := b.withStored(ctx, dir, stock)
		if err != nil {
			return nil, fmt.Errorf("%d stored calls: %w", n, err)
		}
		if t.add(row...); n == b.stored {
			break
		}
	}
	t.note("list: 50 of the caller's own, newest first. subscribe: to any of the calls, which has ended. Calls of the loads themselves are stored, too")
	t.note("starts in: from starting the process to its listening. Inline calls ask a filter whether their id is known; it is of a fixed size")
	return t, nil
}

// withStored measures a server on a file.
func (b *bench) withStored(ctx context.Context, dir string, stock *peer.Stock) (_ []cell, err error) {
	info, err := os.Stat(peer.Database(dir))
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	p, err := peer.Start(ctx, peer.Streamer, dir, peer.Options{})
	if err != nil {
		return nil, err
	}
	starts := time.Since(begun)
	defer stop(&err, p)
	rss, err := p.RSS(ctx)
	if err != nil && !errors.Is(err, machine.ErrUnknown) {
		return nil, err
	}
	b.status.say("%d stored calls, list and subscribe", stock.N)
	list, err := b.asked(ctx, p, func() []byte { return []byte(`{"type":"list","ref":"1"}`) })
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	subscribe, err := b.asked(ctx, p, func() []byte {
		return fmt.Appendf(nil, `{"type":"subscribe","ref":"1","id":%q}`, stock.ID(rand.IntN(stock.N)))
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	var inline, durable rounds
	s := b.small([]shape{storedShape})[0]
	for round := range b.rounds {
		b.status.say("%d stored calls, round %d of %d", stock.N, round+1, b.rounds)
		m, err := b.once(ctx, p, "", s)
		if err != nil {
			return nil, err
		}
		inline = append(inline, m)
		if m, err = b.once(ctx, p, "async", s); err != nil {
			return nil, err
		}
		durable = append(durable, m)
	}
	return []cell{
		count(float64(stock.N)), kilobytes(float64(info.Size())), span(starts), kilobytes(float64(rss)), count(durable.rate()), span(durable.quantile(0.99)),
		count(inline.rate()), span(inline.cpu()), span(list.Quantile(0.5)), span(list.Quantile(0.99)), span(subscribe.Quantile(0.5)),
		span(subscribe.Quantile(0.99)),
	}, nil
}

// asked asks one question after the other on one connection, and returns how
// long each answer took.
func (b *bench) asked(ctx context.Context, p *peer.Peer, question func() []byte) (*latency.Histogram, error) {
	conns, err := load.DialAll(ctx, p.Target, 1)
	if err != nil {
		return nil, err
	}
	defer load.CloseAll(conns)
	h := new(latency.Histogram)
	err = load.Each(ctx, conns, func(_ int, c *load.Conn) error {
		for end := time.Now().Add(b.duration / 2); time.Now().Before(end); {
			text, begun := question(), time.Now()
			err := c.Ask(text, func(frame []byte) (bool, error) {
				h.Record(time.Since(begun))
				return true, answered(frame)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return h, err
}

// answered returns an error if a frame is not an answer with something in it.
func answered(frame []byte) error {
	var m struct {
		Type   string
		Calls  []json.RawMessage
		Events []json.RawMessage
	}
	if err := json.Unmarshal(frame, &m); err != nil {
		return err
	}
	if m.Type != "calls" && m.Type != "snapshot" || len(m.Calls)+len(m.Events) == 0 {
		return fmt.Errorf("the server answered %.300s", frame)
	}
	return nil
}
