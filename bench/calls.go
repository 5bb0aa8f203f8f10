package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/servers"
	client "github.com/pay-theory/streamer/client-go"
)

var callShapes = []shape{{1, 1}, {64, 1}, {1000, 1}, {64, 16}}

// besideBare are the columns of tables whose yardstick is the bare echo.
var besideBare = []column{
	rate, ratios("× bare", (*load.Result).Rate), p50, p99, serverCPU, ratios("× bare", (*load.Result).ServerCPU),
}

// inline measures calls that are answered at once, beside the bare echo.
func (b *bench) inline(ctx context.Context) (*table, error) {
	ours, bare, err := b.startPair(ctx)
	if err != nil {
		return nil, err
	}
	t := &table{
		title: "calls that are answered at once; echo, a request of 300 B",
		goal:  "≥ 0.7 × the bare echo on gorilla/websocket and encoding/json; p99 < 50 ms at half of the peak",
		group: "connections × in flight", name: "server",
		columns: besideBare,
	}
	peak := 0.0
	for _, s := range callShapes {
		s = b.small(s)
		echo := &line{group: s.String(), name: "bare echo", run: b.requests(requests{server: bare, shape: s})}
		streamer := &line{group: s.String(), name: "streamer", run: b.requests(requests{server: ours, shape: s}), base: echo}
		if err := b.measure(ctx, t, streamer, echo); err != nil {
			return nil, err
		}
		peak = max(peak, rate.value(streamer))
	}
	const half = "half of the peak"
	t.addNote("half of the peak: an open loop on 64 connections at half of streamer's best rate above, latency since the time each request was due")
	return t, b.measure(ctx, t,
		&line{group: half, name: "streamer", run: b.requests(requests{server: ours, rate: peak / 2})},
		&line{group: half, name: "bare echo", run: b.requests(requests{server: bare, rate: peak / 2})})
}

// durable measures calls that are stored first, beside the disk's bare fsync.
func (b *bench) durable(ctx context.Context) (*table, error) {
	ours, err := b.start(ctx, servers.Streamer, "", servers.Options{})
	if err != nil {
		return nil, err
	}
	t := &table{
		title: "calls that are stored first (mode async), from the request to its result; echo, a request of 300 B; each stored twice, with fsync",
		goal:  "≥ 10,000 calls a second, then 15,000; at low load, ack p50 ≤ 2 × the disk's bare fsync",
		group: "connections × in flight", name: "what",
		columns: []column{
			rate, ratios("× fsync", (*load.Result).Rate), medians("ack p50", ack, timeSpan),
			ratios("× fsync", ackOrLatency), p50, p99, serverCPU,
		},
	}
	for _, s := range callShapes {
		s = b.small(s)
		fsync := &line{group: s.String(), name: "bare fsync", run: b.fsync}
		streamer := &line{group: s.String(), name: "streamer", run: b.requests(requests{server: ours, mode: "async", shape: s}), base: fsync}
		if err := b.measure(ctx, t, fsync, streamer); err != nil {
			return nil, err
		}
	}
	t.addNote("bare fsync: 4 KiB written over an old page of a file in the same directory, and fdatasync; one after the other, before each load")
	return t, nil
}

// ack is the median ack; 0: there was none.
func ack(r *load.Result) float64 { return float64(r.Ack.Quantile(0.5)) }

// ackOrLatency is the median ack, or of a bare fsync the median.
func ackOrLatency(r *load.Result) float64 { return cmp.Or(ack(r), quantile(0.5)(r)) }

// connectionGrowth measures what a call costs with more and more connections.
func (b *bench) connectionGrowth(ctx context.Context) (*table, error) {
	ours, bare, err := b.startPair(ctx)
	if err != nil {
		return nil, err
	}
	t := &table{
		title: "what a call costs as connections grow; one call in flight on each",
		group: "connections", name: "calls",
		columns: besideBare,
	}
	for n := 1; ; n *= 10 {
		n = min(n, b.connections)
		s, group := shape{n, 1}, count(float64(n))
		echo := &line{group: group, name: "bare echo", run: b.requests(requests{server: bare, shape: s})}
		err := b.measure(ctx, t,
			&line{group: group, name: "inline", run: b.requests(requests{server: ours, shape: s}), base: echo}, echo,
			&line{group: group, name: "durable", run: b.requests(requests{server: ours, mode: "async", shape: s}), base: echo})
		if err != nil || n == b.connections {
			return t, err
		}
	}
}

// client measures what the Go client costs beside the raw load.
func (b *bench) client(ctx context.Context) (_ *table, err error) {
	ours, err := b.start(ctx, servers.Streamer, "", servers.Options{})
	if err != nil {
		return nil, err
	}
	c, err := client.Dial(ctx, ours.Target.URL, clientOptions(ours))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	s := b.small(shape{1, 64})
	t := &table{
		title: fmt.Sprintf("the Go client beside the raw load; one connection, %d calls in flight, the same request", s.window),
		group: "call", name: "through",
		columns: []column{
			rate, ratios("× raw", (*load.Result).Rate), p50, p99, medians("client CPU/call", (*load.Result).LoadCPU, timeSpan), serverCPU,
		},
	}
	t.addNote("client CPU: of this whole process; what it is more than raw is the client's own cost, the encoding and decoding of payloads included")
	for _, kind := range []struct{ name, mode string }{{"inline", ""}, {"durable", "async"}} {
		raw := &line{group: kind.name, name: "raw", run: b.requests(requests{server: ours, mode: kind.mode, shape: s})}
		err := b.measure(ctx, t, raw, &line{group: kind.name, name: "Go client", base: raw, run: func(ctx context.Context) (*load.Result, error) {
			d := b.driver(ours, s.window)
			d.Call = func(ctx context.Context, _ int) (int64, error) {
				request := echo.With(order)
				if kind.mode == "async" {
					request = request.Async()
				}
				_, err := request.Await(ctx, c)
				return time.Now().UnixNano(), err
			}
			return d.Run(ctx)
		}})
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

const echo client.Action[servers.Order, struct{}, servers.Order] = servers.Echo

func clientOptions(s *servers.Server) *client.Options {
	return &client.Options{Header: http.Header{"Authorization": {"Bearer " + s.Target.Token}}}
}
