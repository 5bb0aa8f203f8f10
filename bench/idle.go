package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/servers"
)

// idleConnections measures the memory of connections on which nothing happens.
func (b *bench) idleConnections(ctx context.Context) (*table, error) {
	t := &table{
		title: fmt.Sprintf("memory of connections that have been idle for %v, after a garbage collection", b.idle),
		goal:  "≤ 15 KB a connection, then ≤ 10 KB, at 10,000 on plain TCP",
		group: "connections", name: "server", rounds: 1, // memory does not vary as speed does
		columns: []column{
			medians("RSS before", value("before"), byteSize), medians("after", value("after"), byteSize),
			medians("a connection", value("each"), byteSize), ratios("× bare", value("each")),
		},
	}
	t.addNote("centrifuge: each connection has authenticated, and follows nothing. Tuned: a pool of write buffers, buffers of 512 B, commands")
	t.addNote("  processed off the loop that reads, a queue of 1 at first")
	n := b.connections
	group := count(float64(n))
	bare := &line{group: group, name: "bare gorilla", run: b.idleMemory(servers.Bare, servers.Options{}, n)}
	return t, b.measure(ctx, t, bare,
		&line{group: group, name: "streamer", run: b.idleMemory(servers.Streamer, servers.Options{}, n), base: bare},
		&line{group: group, name: "centrifuge", run: b.idleMemory(servers.Centrifuge, servers.Options{}, n), base: bare},
		&line{group: group, name: "centrifuge, tuned", run: b.idleMemory(servers.Centrifuge, servers.Options{Tuned: true}, n), base: bare})
}

func (b *bench) idleMemory(kind servers.Kind, o servers.Options, n int) func(context.Context) (*load.Result, error) {
	// open opens connections; those of centrifuge have to authenticate.
	open := func(ctx context.Context, s *servers.Server, n int) ([]*load.Conn, error) {
		conns, err := load.DialAll(ctx, s.Target, n)
		if err == nil && kind == servers.Centrifuge {
			err = load.ForEach(ctx, conns, func(_ int, c *load.Conn) error { return load.Centrifuge(c, "", func() {}, nil) })
		}
		return conns, err
	}
	return func(ctx context.Context) (_ *load.Result, err error) {
		s, err := b.start(ctx, kind, "", o)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.Stop()) }()
		// The first connection has the server make what all share.
		first, err := open(ctx, s, 1)
		load.CloseAll(first)
		if err != nil {
			return nil, err
		}
		before, err := s.RSS(ctx)
		if err != nil {
			return nil, err
		}
		conns, err := open(ctx, s, n)
		defer load.CloseAll(conns)
		if err != nil {
			return nil, err
		}
		if err := load.Pause(ctx, b.idle); err != nil {
			return nil, err
		}
		after, err := s.RSS(ctx)
		r := load.NewResult()
		r.Values["before"], r.Values["after"], r.Values["each"] = before, after, (after-before)/float64(n)
		return r, err
	}
}
