package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/machine"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

// spareFiles are those that a process needs besides its connections.
const spareFiles = 200

// idleConnections measures the memory of connections on which nothing happens.
func (b *bench) idleConnections(ctx context.Context) (*table, error) {
	t := &table{
		Title: fmt.Sprintf("memory of connections that have been idle for %v, after a garbage collection", b.idle),
		Goal:  "≤ 15 KB a connection, then ≤ 10 KB, at 10,000 on plain TCP",
		columns: []column{
			{"server", "server"},
			{"connections", "connections"},
			{"RSS before", "beforeKB"},
			{"after", "afterKB"},
			{"a connection", "connectionKB"},
			{"× bare", "ratio"},
		},
	}
	n := b.connections
	if limit, err := machine.OpenFiles(); err == nil && limit-spareFiles < n {
		n = max(1, limit-spareFiles)
		t.note("the limit of %d open files allows no more than %d connections", limit, n)
	}
	ours, err := b.idleMemory(ctx, peer.Streamer, n)
	switch {
	case errors.Is(err, machine.ErrUnknown):
		t.note("this system does not tell how much memory a process occupies")
		return t, nil
	case err != nil:
		return nil, err
	}
	bare, err := b.idleMemory(ctx, peer.Bare, n)
	if err != nil {
		return nil, err
	}
	share := 0.0
	if bare.each() > 0 {
		share = ours.each() / bare.each()
	}
	t.add(text("streamer"), count(float64(n)), kilobytes(ours.before), kilobytes(ours.after), kilobytes(ours.each()), ratio(share))
	t.add(text("bare gorilla"), count(float64(n)), kilobytes(bare.before), kilobytes(bare.after), kilobytes(bare.each()), none())
	return t, nil
}

// memory is what a server occupied, in bytes.
type memory struct {
	before, after float64
	n             int
}

func (m *memory) each() float64 { return (m.after - m.before) / float64(m.n) }

func (b *bench) idleMemory(ctx context.Context, kind peer.Kind, n int) (_ *memory, err error) {
	p, err := b.start(ctx, kind, peer.Options{})
	if err != nil {
		return nil, err
	}
	defer stop(&err, p)
	// The first connections have the server make what all share.
	conns, err := load.DialAll(ctx, p.Target, 1)
	if err != nil {
		return nil, err
	}
	load.CloseAll(conns)
	before, err := p.RSS(ctx)
	if err != nil {
		return nil, err
	}
	b.status.say("%d idle connections to %s", n, kind)
	if conns, err = load.DialAll(ctx, p.Target, n); err != nil {
		return nil, err
	}
	defer load.CloseAll(conns)
	timer := time.NewTimer(b.idle)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := p.RSS(ctx)
	return &memory{float64(before), float64(after), n}, err
}
