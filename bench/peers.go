package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/queues"
	"github.com/pay-theory/streamer/bench/internal/servers"
)

// peer is a job queue that people use today.
type peer struct {
	name   string
	queue  queues.Queue
	server *servers.Server
}

func peerServers() []peerServer {
	return []peerServer{
		{servers.Postgres, servers.Options{}, []peer{
			{name: "River", queue: &queues.River{}}, {name: "River, InsertMany", queue: &queues.River{Batches: true}},
		}},
		{servers.Redis, servers.Options{}, []peer{{name: "Asynq, fsync always", queue: &queues.Asynq{}}}},
		{servers.Redis, servers.Options{EverySecond: true}, []peer{{name: "Asynq, fsync each second", queue: &queues.Asynq{}}}},
		{servers.NATS, servers.Options{}, []peer{{name: "JetStream, sync always", queue: &queues.JetStream{}}}},
	}
}

type peerServer struct {
	kind  servers.Kind
	o     servers.Options
	peers []peer
}

// startPeers starts the servers of peers. Peers whose server is missing are left
// out, and the table has a note.
func (b *bench) startPeers(ctx context.Context, t *table) (running []peer, err error) {
	for _, s := range peerServers() {
		b.announce("  starting %s", s.kind)
		server, err := b.start(ctx, s.kind, "", s.o)
		if err != nil && !errors.Is(err, servers.ErrMissing) {
			return nil, err
		}
		for _, p := range s.peers {
			if err != nil {
				t.addNote("%s: %v", p.name, err)
				continue
			}
			p.server = server
			running = append(running, p)
		}
	}
	return running, nil
}

// measuredLine measures a peer: a closed loop, or for pickup an open one.
func (p peer) measuredLine(b *bench, group string, inFlight int, rate float64, base *line) *line {
	return &line{group: group, name: p.name, base: base, run: func(ctx context.Context) (*load.Result, error) {
		d := b.driver(p.server, inFlight)
		d.Rate, d.SinceSent = rate, rate > 0
		return queues.Run(ctx, p.queue, p.server, d, rate > 0)
	}}
}

// peers measures calls beside jobs of other queues, from request to end.
func (b *bench) peers(ctx context.Context) (*table, error) {
	ours, err := b.start(ctx, servers.Streamer, "", servers.Options{})
	if err != nil {
		return nil, err
	}
	t := &table{
		title: "calls and jobs on other queues, from request to end, in turns; the same order of 200 B is decoded and encoded",
		goal:  "≥ 3 × River (single inserts), Asynq and JetStream (synced always)",
		group: "in flight", name: "queue",
		columns: []column{
			rate, ratios("streamer is ×", interval), p50, p99, medians("CPU/call", (*load.Result).AllCPU, timeSpan),
		},
		notes: peerNotes,
	}
	running, err := b.startPeers(ctx, t)
	if err != nil {
		return nil, err
	}
	// A few connections, as the pools of the others have them.
	for _, s := range []shape{{1, 1}, {16, 4}, {20, 50}} {
		s = b.small(s)
		inFlight := s.conns * s.window
		group := count(float64(inFlight))
		streamer := &line{group: group, name: "streamer", run: b.requests(requests{server: ours, mode: "async", shape: s})}
		lines := []*line{streamer}
		for _, p := range running {
			lines = append(lines, p.measuredLine(b, group, inFlight, 0, streamer))
		}
		if err := b.measure(ctx, t, lines...); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// interval is the mean time from one call to the next.
func interval(r *load.Result) float64 { return 1 / r.Rate() }

var peerNotes = []string{
	"CPU: of load, workers and server together",
	"streamer: stored and synced before the ack, its result stored and synced before it is sent; from a client over a WebSocket to the server",
	"  and back, on at most 20 connections. What the others do not have: progress and results to the client, resuming, cancelling",
	"River on PostgreSQL: jobs are inserted in the transaction that changes your own data, can be asked for with SQL, on many machines; producers",
	"  and workers are in the load's process, on 16 connections, LISTEN/NOTIFY, and fetch at most every 1 ms; stores no result here; done when",
	"  the handler has returned. That this is committed, every 50 to 250 ms, is not waited for. InsertMany: what waits goes in together by",
	"  InsertManyFast, at most 1,000 jobs; streamer has single submits alone, also beside it",
	"Asynq on Redis: many machines, weighted queues, a web page for operators; checks every 1 ms; done when the handler has returned, before",
	"  Redis knows; with fsync each second a crash loses up to 1 s of what was acknowledged",
	"JetStream: many consumers, replicas on other machines (none here); a work queue on files; done when the server has confirmed the ack;",
	"  stores no result",
}

const pickupRate = 500

// pickup measures how long it takes from a request to its handler, in turns with
// other queues.
func (b *bench) pickup(ctx context.Context) (*table, error) {
	ours, err := b.start(ctx, servers.Streamer, "", servers.Options{})
	if err != nil {
		return nil, err
	}
	t := &table{
		title: fmt.Sprintf("from sending a request to its handler's first line, at %d requests per second in an open loop", pickupRate),
		goal:  "p50 < 1 ms, p99 < 4 ms",
		group: "requests per second", name: "queue",
		columns: []column{calls, p50, p99, longest, ratios("p50 × streamer", quantile(0.5))},
	}
	t.addNote("the others' producers and workers are in one process, River and Asynq look every 1 ms; streamer's client and server are two")
	running, err := b.startPeers(ctx, t)
	if err != nil {
		return nil, err
	}
	group := fmt.Sprint(pickupRate)
	clock := requests{server: ours, action: servers.Clock, payload: struct{}{}, rate: pickupRate, pickup: true}
	inline, durable := clock, clock
	durable.mode = "async"
	streamer := &line{group: group, name: "streamer, durable", run: b.requests(durable)}
	lines := []*line{
		{group: group, name: "bare fsync", run: b.fsync, base: streamer}, streamer,
		{group: group, name: "streamer, inline", run: b.requests(inline), base: streamer},
	}
	for _, p := range running {
		// As many may be in flight as begin within eight seconds.
		lines = append(lines, p.measuredLine(b, group, 8*pickupRate, pickupRate, streamer))
	}
	return t, b.measure(ctx, t, lines...)
}
