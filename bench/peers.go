package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/pay-theory/streamer/bench/internal/jobs"
	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

// rival is a job queue with its server.
type rival struct {
	name   string
	kind   peer.Kind
	o      peer.Options
	queue  jobs.Queue
	server *peer.Peer
}

// rivals are what people use today. Those that have a server in common share
// it.
func rivals() []*rival {
	return []*rival{
		{name: "River", kind: peer.Postgres, queue: &jobs.River{}},
		{name: "River, InsertMany", kind: peer.Postgres, queue: &jobs.River{Batches: true}},
		{name: "River, until told", kind: peer.Postgres, queue: &jobs.River{Told: true}},
		{name: "Asynq, fsync always", kind: peer.Redis, queue: &jobs.Asynq{}},
		{name: "Asynq, fsync each second", kind: peer.Redis, o: peer.Options{EverySecond: true}, queue: &jobs.Asynq{}},
		{name: "JetStream, sync always", kind: peer.NATS, queue: &jobs.JetStream{}},
	}
}

// started are rivals whose servers run, and what is missing.
type started struct {
	rivals  []*rival
	servers []*peer.Peer
	missing []string
}

// startRivals starts the servers of rivals. Those that are not installed are
// left out, and named.
func (b *bench) startRivals(ctx context.Context, all []*rival) (_ *started, err error) {
	type server struct {
		kind peer.Kind
		o    peer.Options
	}
	running := map[server]*peer.Peer{}
	absent := map[server]bool{}
	s := new(started)
	defer func() {
		if err != nil {
			stop(&err, s.servers...)
		}
	}()
	for _, r := range all {
		key := server{r.kind, r.o}
		if running[key] == nil && !absent[key] {
			b.status.say("starting %s", r.kind)
			p, err := b.start(ctx, r.kind, r.o)
			var missing *peer.MissingError
			switch {
			case errors.As(err, &missing):
				absent[key] = true
				s.missing = append(s.missing, missing.Error())
			case err != nil:
				return nil, err
			default:
				running[key] = p
				s.servers = append(s.servers, p)
			}
		}
		if absent[key] {
			s.missing = append(s.missing, r.name)
			continue
		}
		r.server = running[key]
		s.rivals = append(s.rivals, r)
	}
	return s, nil
}

// note says what is missing.
func (s *started) note(t *table) {
	for _, m := range s.missing {
		t.note("MISSING: %s", m)
	}
}

// peerShapes are how many calls are in flight, and on how many connections of
// Streamer's: a few, as the pools of the others have them, or one for each call.
var peerShapes = []struct {
	inFlight    int
	few, widely shape
}{
	{1, shape{1, 1}, shape{}},
	{64, shape{16, 4}, shape{64, 1}},
	{1000, shape{20, 50}, shape{1000, 1}},
}

// peerWorkers is how many calls Streamer runs at once beside its peers, which
// run all that are in flight.
const peerWorkers = 1000

// contender is one line of the table.
type contender struct {
	name   string
	run    func(ctx context.Context) (*load.Measured, error)
	rounds rounds
}

// peers measures whole lives of calls beside those of other queues' jobs.
func (b *bench) peers(ctx context.Context) (_ *table, err error) {
	ours, err := b.start(ctx, peer.Streamer, peer.Options{Workers: peerWorkers})
	if err != nil {
		return nil, err
	}
	defer stop(&err, ours)
	others, err := b.startRivals(ctx, rivals())
	if err != nil {
		return nil, err
	}
	defer stop(&err, others.servers...)
	t := peersTable()
	for _, s := range peerShapes {
		if b.quick {
			s.inFlight, s.few, s.widely = min(s.inFlight, 16), b.small([]shape{s.few})[0], b.small([]shape{s.widely})[0]
		}
		contenders, err := b.contend(ctx, ours, others, s.inFlight, s.few, s.widely)
		if err != nil {
			return nil, err
		}
		label := fmt.Sprint(s.inFlight)
		for _, c := range contenders {
			r, faster := c.rounds, none()
			if c.name != contenders[0].name {
				faster = ratio(contenders[0].rounds.share(r, (*load.Measured).Rate))
			}
			t.add(
				text(label), text(c.name), count(r.rate()), faster, span(r.quantile(0.5)), span(r.quantile(0.99)),
				span(r.all()), size(r.of((*load.Measured).WirePerCall)), size(r.of((*load.Measured).WrittenPerCall)),
			)
			label = ""
		}
	}
	others.note(t)
	return t, nil
}

// contend measures all in turns.
func (b *bench) contend(ctx context.Context, ours *peer.Peer, others *started, inFlight int, few, widely shape) (_ []*contender, err error) {
	var contenders []*contender
	for _, s := range []shape{few, widely} {
		if s.conns == 0 {
			continue
		}
		template, err := request("async")
		if err != nil {
			return nil, err
		}
		name := "streamer"
		if len(contenders) > 0 {
			name += ", a connection a call"
		}
		contenders = append(contenders, &contender{name: name, run: func(ctx context.Context) (*load.Measured, error) {
			conns, err := load.DialAll(ctx, ours.Target, s.conns)
			if err != nil {
				return nil, err
			}
			defer load.CloseAll(conns)
			return b.closed(ctx, ours, conns, template, s.window)
		}})
	}
	for _, r := range others.rivals {
		contenders = append(contenders, &contender{name: r.name, run: func(ctx context.Context) (*load.Measured, error) {
			c := jobs.Closed{
				Queue: r.queue, Server: r.server, InFlight: inFlight, Warm: b.warm(), Measure: b.duration, Meter: b.meter(r.server),
			}
			return c.Run(ctx)
		}})
	}
	for round := range b.rounds {
		for _, c := range contenders {
			b.status.say("%s, %d in flight, round %d of %d", c.name, inFlight, round+1, b.rounds)
			m, err := c.run(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			c.rounds = append(c.rounds, m)
		}
	}
	return contenders, nil
}

func peersTable() *table {
	t := &table{
		Title: "whole lives of calls and of jobs on other queues, in turns; the same order of 200 B is decoded and encoded",
		Goal:  "≥ 3 × River (single inserts), Asynq and JetStream (synced always)",
		columns: []column{
			{"in flight", "inFlight"},
			{"queue", "queue"},
			{"calls/s", "callsPerSecond"},
			{"streamer is ×", "ratio"},
			{"p50", "p50Us"},
			{"p99", "p99Us"},
			{"CPU/call", "cpuUs"},
			{"wire/call", "wireBytes"},
			{"disk/call", "diskBytes"},
		},
	}
	t.note("CPU: of load, workers and server together. wire: both ways, without TCP. disk: what the device wrote meanwhile, whoever asked it to")
	t.note("streamer: stored and synced before the ack, its result stored and synced before it is told; from a client over a WebSocket to the")
	t.note("  server and back, on at most 20 connections. What the others do not have: progress and results to the client, resuming, cancelling")
	t.note("River on PostgreSQL: jobs are inserted in the transaction that changes your own data, can be asked for with SQL, on many machines")
	t.note("  producers and workers are in the load's process, on 16 connections, LISTEN/NOTIFY, and fetch at most every 1 ms; stores no result here;")
	t.note("  done when the handler has returned. That this is committed (every 50 to 250 ms) is waited for in \"until told\"")
	t.note("  InsertMany: what waits goes in together by InsertManyFast, at most 1,000 jobs; streamer has single submits alone, also beside it")
	t.note("Asynq on Redis: many machines, weighted queues, a web page for operators; checks every 1 ms; done when the handler has returned, before")
	t.note("  Redis knows; with fsync each second a crash loses up to 1 s of what was acknowledged")
	t.note("JetStream: many consumers, replicas on other machines (none here); a work queue on files; done when the server has confirmed the ack;")
	t.note("  stores no result")
	return t
}
