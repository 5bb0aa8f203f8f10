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
	n := b.bounded(t)
	servers := []struct {
		name string
		kind peer.Kind
		o    peer.Options
	}{
		{"bare gorilla", peer.Bare, peer.Options{}},
		{"streamer", peer.Streamer, peer.Options{}},
		{"centrifuge", peer.Centrifuge, peer.Options{}},
		{"centrifuge, tuned", peer.Centrifuge, peer.Options{Tuned: true}},
	}
	var bare *memory
	for _, s := range servers {
		m, err := b.idleMemory(ctx, s.kind, s.o, n)
		switch {
		case errors.Is(err, machine.ErrUnknown):
			t.note("this system does not tell how much memory a process occupies")
			return t, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		share := none()
		if bare == nil {
			bare = m
		} else if bare.each() > 0 {
			share = ratio(m.each() / bare.each())
		}
		t.add(text(s.name), count(float64(n)), kilobytes(m.before), kilobytes(m.after), kilobytes(m.each()), share)
	}
	t.note("centrifuge: each connection has said who it is, and follows nothing. Tuned: a pool of write buffers, buffers of 512 B, commands")
	t.note("  processed off the loop that reads, a queue of 1 at first")
	return t, nil
}

// bounded returns how many connections there may be, which is what was asked
// for unless the limit of open files forbids it; then the table says so.
func (b *bench) bounded(t *table) int {
	limit, err := machine.OpenFiles()
	if err != nil || limit-spareFiles >= b.connections {
		return b.connections
	}
	n := max(1, limit-spareFiles)
	t.note("the limit of %d open files (RLIMIT_NOFILE) allows no more than %d connections", limit, n)
	return n
}

// memory is what a server occupied, in bytes.
type memory struct {
	before, after float64
	n             int
}

func (m *memory) each() float64 { return (m.after - m.before) / float64(m.n) }

func (b *bench) idleMemory(ctx context.Context, kind peer.Kind, o peer.Options, n int) (_ *memory, err error) {
	p, err := b.start(ctx, kind, o)
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
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	defer func() {
		cancel()
		load.CloseAll(conns)
		<-ended //nolint:errcheck // it was cut off
	}()
	greeted := newBarrier(n)
	go func() { ended <- keep(ctx, kind, conns, greeted) }()
	select {
	case <-greeted.all:
	case err := <-ended:
		ended <- err
		return nil, errors.Join(errors.New("a connection was lost"), err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	timer := time.NewTimer(b.idle)
	defer timer.Stop()
	select {
	case <-timer.C:
	case err := <-ended:
		ended <- err
		return nil, errors.Join(errors.New("a connection was lost"), err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := p.RSS(ctx)
	return &memory{float64(before), float64(after), n}, err
}

// keep does what a client must to stay connected, until ctx ends: centrifuge's
// have to say who they are, and to answer pings.
func keep(ctx context.Context, kind peer.Kind, conns []*load.Conn, greeted *barrier) error {
	if kind != peer.Centrifuge {
		for range conns {
			greeted.arrive()
		}
		<-ctx.Done()
		return ctx.Err()
	}
	return load.Each(ctx, conns, func(_ int, c *load.Conn) error {
		return load.Centrifuge(c, "", greeted.arrive, func(int64, []byte) bool { return false })
	})
}
