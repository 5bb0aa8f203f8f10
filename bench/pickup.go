package main

import (
	"context"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/machine"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

// pickupRate is requests a second.
const pickupRate = 500

// pickup measures how long it takes from a request to its handler.
func (b *bench) pickup(ctx context.Context) (_ *table, err error) {
	ours, err := b.start(ctx, peer.Streamer, peer.Options{})
	if err != nil {
		return nil, err
	}
	defer stop(&err, ours)
	t := &table{
		Title: "from sending a request to its handler's first line, at 500 requests a second in an open loop",
		Goal:  "p50 < 1 ms, p99 < 4 ms",
		columns: []column{
			{"call", "call"},
			{"requests", "requests"},
			{"p50", "p50Us"},
			{"p99", "p99Us"},
			{"longest", "maxUs"},
			{"bare sync p50", "syncP50Us"},
			{"bare sync p99", "syncP99Us"},
		},
	}
	for _, kind := range []struct{ label, mode string }{{"durable", "async"}, {"inline", ""}} {
		b.status.say("pickup, %s", kind.label)
		syncs := [2]cell{none(), none()}
		if kind.mode != "" { // it waits for one
			disk, err := machine.Sync(ctx, b.dir, b.duration)
			if err != nil {
				return nil, err
			}
			syncs = [2]cell{span(disk.Quantile(0.5)), span(disk.Quantile(0.99))}
		}
		template := load.NewTemplate(peer.Clock, kind.mode, []byte("{}"))
		h, err := b.open(ctx, ours, template, pickupRate, func(t *load.Times, a *load.Answer) time.Duration {
			begun, _ := strconv.ParseInt(string(a.Field("payload")), 10, 64)
			return time.Duration(begun - t.Sent)
		})
		if err != nil {
			return nil, err
		}
		t.add(text(kind.label), count(float64(h.Count())), span(h.Quantile(0.5)), span(h.Quantile(0.99)), span(h.Max()), syncs[0], syncs[1])
	}
	return t, nil
}
