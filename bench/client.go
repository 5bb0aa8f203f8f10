package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/bench/internal/latency"
	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/peer"
	client "github.com/pay-theory/streamer/client-go"
)

// clientWindow is how many calls a client has in flight on its connection.
const clientWindow = 64

// client measures what the Go client costs beside the raw load generator.
func (b *bench) client(ctx context.Context) (_ *table, err error) {
	ours, err := b.start(ctx, peer.Streamer, peer.Options{})
	if err != nil {
		return nil, err
	}
	defer stop(&err, ours)
	t := &table{
		Title: "the Go client beside the raw load generator; one connection, 64 calls in flight, the same request",
		columns: []column{
			{"call", "call"},
			{"through", "through"},
			{"calls/s", "callsPerSecond"},
			{"× raw", "ratio"},
			{"p50", "p50Us"},
			{"p99", "p99Us"},
			{"client CPU/call", "clientCPUUs"},
			{"server CPU/call", "cpuUs"},
		},
	}
	for _, kind := range []struct{ label, mode string }{{"inline", ""}, {"durable", "async"}} {
		b.status.say("Go client, %s", kind.label)
		raw, through, err := b.clientRounds(ctx, ours, kind.mode)
		if err != nil {
			return nil, err
		}
		row := func(label, name string, r rounds, share cell) {
			own := time.Duration(r.of((*load.Measured).OwnPerCall))
			t.add(text(label), text(name), count(r.rate()), share, span(r.quantile(0.5)), span(r.quantile(0.99)), span(own), span(r.cpu()))
		}
		row(kind.label, "raw", raw, none())
		row("", "Go client", through, ratio(through.share(raw, (*load.Measured).Rate)))
	}
	t.note("client CPU: of this whole process; what it is more than raw is the client's own cost, the encoding and decoding of payloads included")
	return t, nil
}

// clientRounds measures both ways in turns.
func (b *bench) clientRounds(ctx context.Context, p *peer.Peer, mode string) (raw, through rounds, err error) {
	template, err := request(mode)
	if err != nil {
		return nil, nil, err
	}
	conns, err := load.DialAll(ctx, p.Target, 1)
	if err != nil {
		return nil, nil, err
	}
	defer load.CloseAll(conns)
	c, err := client.Dial(ctx, p.Target.URL, &client.Options{Header: http.Header{"Authorization": {"Bearer " + p.Target.Token}}})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	window := clientWindow
	if b.quick {
		window = 4
	}
	for range b.rounds {
		m, err := b.closed(ctx, p, conns, template, window)
		if err != nil {
			return nil, nil, err
		}
		raw = append(raw, m)
		calls := calls{Client: c, async: mode != "", window: window, warm: b.warm(), measure: b.duration}
		if m, err = calls.run(ctx, b.meter(p)); err != nil {
			return nil, nil, err
		}
		through = append(through, m)
	}
	return raw, through, nil
}

// echo is the action that the load calls.
const echo client.Action[peer.Order, struct{}, peer.Order] = peer.Echo

// calls is a closed loop through the Go client.
type calls struct {
	*client.Client
	async         bool
	window        int
	warm, measure time.Duration
}

// run runs the loop.
func (c *calls) run(ctx context.Context, meter load.Meter) (_ *load.Measured, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var measuring, over atomic.Bool
	seen := make([]latency.Histogram, c.window)
	var callers sync.WaitGroup
	for i := range seen {
		callers.Go(func() {
			for !over.Load() {
				begun := time.Now()
				if err := c.call(ctx); err != nil {
					cancel(err)
					return
				}
				if measuring.Load() {
					seen[i].Record(time.Since(begun))
				}
			}
		})
	}
	m := new(load.Measured)
	pause := func(d time.Duration) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	pause(c.warm)
	before, err := meter.Read()
	begun := time.Now()
	measuring.Store(true)
	pause(c.measure)
	measuring.Store(false)
	m.During = time.Since(begun)
	after, failed := meter.Read()
	m.Used = after.Sub(before)
	over.Store(true)
	callers.Wait()
	for i := range seen {
		m.Latency.Add(&seen[i])
	}
	m.Calls = m.Latency.Count()
	return m, errors.Join(err, failed, context.Cause(ctx))
}

func (c *calls) call(ctx context.Context) error {
	request := echo.With(order)
	if c.async {
		request = request.Async()
	}
	_, err := request.Await(ctx, c.Client)
	return err
}
