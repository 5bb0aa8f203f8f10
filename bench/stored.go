package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/servers"
)

// storeCalls stores n calls in the database in a directory, which is a new one if
// dir is empty, and returns the ids of some of them.
func (b *bench) storeCalls(ctx context.Context, dir string, o servers.Options, n int) (_ string, ids []string, err error) {
	b.announce("  storing %d calls", n)
	s, err := b.start(ctx, servers.Streamer, dir, o)
	if err != nil {
		return "", nil, err
	}
	var mu sync.Mutex
	sample := func(id string) {
		if rand.IntN(n) < 1000 {
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, id)
		}
	}
	run := b.requests(requests{server: s, mode: "async", shape: shape{64, 16}, calls: n, each: sample})
	if _, err := run(ctx); err != nil {
		return "", nil, err
	}
	return s.Dir, ids, s.Stop()
}

// storedGrowth measures a server that finds more and more calls in its file.
func (b *bench) storedGrowth(ctx context.Context) (*table, error) {
	t := &table{
		title: "a server with so many calls in its file, as they grow; loads on 64 connections",
		group: "stored calls", name: "what",
		columns: []column{
			rate, p50, p99, serverCPU, medians("file", value("file"), byteSize), medians("starts in", value("start"), timeSpan), medians("RSS", value("rss"), byteSize),
		},
	}
	t.addNote("list: 50 of the caller's own, newest first. subscribe: to any of the calls, which has ended. Calls of the loads themselves are stored, too")
	t.addNote("starts in: from starting the process to its listening. Inline calls ask a filter whether their id is known; it is of a fixed size")
	var dir string
	var ids []string
	for stored, n := 0, min(1000, b.stored); ; n = min(10*n, b.stored) {
		used, more, err := b.storeCalls(ctx, dir, servers.Options{}, n-stored)
		if err != nil {
			return nil, err
		}
		dir, ids, stored = used, append(ids, more...), n
		if err := b.withStored(ctx, t, dir, count(float64(n)), ids); err != nil || n == b.stored {
			return t, err
		}
	}
}

func (b *bench) withStored(ctx context.Context, t *table, dir, group string, ids []string) error {
	info, err := os.Stat(servers.Database(dir))
	if err != nil {
		return err
	}
	begun := time.Now()
	s, err := b.start(ctx, servers.Streamer, dir, servers.Options{})
	if err != nil {
		return err
	}
	start := time.Since(begun)
	rss, err := s.RSS(ctx)
	if err != nil {
		return err
	}
	sh := b.small(shape{64, 1})
	durable := &line{group: group, name: "durable", run: b.requests(requests{server: s, mode: "async", shape: sh})}
	err = b.measure(ctx, t, durable,
		&line{group: group, name: "inline", run: b.requests(requests{server: s, shape: sh})},
		&line{group: group, name: "list", run: b.questions(s, "calls", func() []byte { return []byte(`{"type":"list","ref":"1"}`) })},
		&line{group: group, name: "subscribe", run: b.questions(s, "snapshot", func() []byte {
			return fmt.Appendf(nil, `{"type":"subscribe","ref":"1","id":%q}`, ids[rand.IntN(len(ids))])
		})})
	if err != nil {
		return err
	}
	for _, r := range durable.rounds {
		r.Values["file"], r.Values["start"], r.Values["rss"] = float64(info.Size()), float64(start), rss
	}
	return s.Stop()
}

// questions returns what asks one question after the other on one connection,
// and wants answers of a type.
func (b *bench) questions(s *servers.Server, answer string, question func() []byte) func(context.Context) (*load.Result, error) {
	return func(ctx context.Context) (*load.Result, error) {
		conn, err := load.Dial(ctx, s.Target)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		d := b.driver(s, 1)
		d.Call = func(ctx context.Context, _ int) (at int64, err error) {
			stop := context.AfterFunc(ctx, conn.Close)
			defer stop()
			err = conn.Exchange(question(), func(frame []byte) (bool, error) {
				at = time.Now().UnixNano()
				if !bytes.HasPrefix(frame, []byte(`{"type":"`+answer)) {
					return true, fmt.Errorf("the server answered %.300s", frame)
				}
				return true, nil
			})
			return at, err
		}
		return d.Run(ctx)
	}
}

// cleanup measures durable calls while expired ones are deleted.
func (b *bench) cleanup(ctx context.Context) (*table, error) {
	// 20,000 per second are more than are deleted. The server keeps calls for 7
	// days after their end.
	n := int(20_000*b.duration.Seconds()) * b.rounds
	dir, _, err := b.storeCalls(ctx, "", servers.Options{Age: 10 * 24 * time.Hour}, n)
	if err != nil {
		return nil, err
	}
	s, err := b.start(ctx, servers.Streamer, dir, servers.Options{})
	if err != nil {
		return nil, err
	}
	t := &table{
		title: fmt.Sprintf("durable calls at 1,000 per second in an open loop, while of %s expired calls some are deleted", count(float64(n))),
		group: "calls per second", name: "clean-up",
		columns: []column{
			calls, p50, ratios("× none", quantile(0.5)), p99, ratios("× none", quantile(0.99)), longest, medians("deleted/s", value("deleted"), count),
		},
	}
	t.addNote("latency since the time each request was due; both lines are measured in turns on the same file")
	plain := b.requests(requests{server: s, mode: "async", rate: 1000})
	cleaning := func(ctx context.Context) (*load.Result, error) {
		during := b.duration * 6 / 5 // with warming up
		var deleting sync.WaitGroup
		var deleted string
		var failed error
		deleting.Go(func() { deleted, failed = s.Control(ctx, fmt.Sprintf("/expire?for=%v", during)) })
		r, err := plain(ctx)
		deleting.Wait()
		if err := errors.Join(err, failed); err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(deleted)
		r.Values["deleted"] = float64(n) / during.Seconds()
		return r, err
	}
	base := &line{group: "1,000", name: "none", run: plain}
	return t, b.measure(ctx, t, base, &line{group: "1,000", name: "of expired calls", run: cleaning, base: base})
}
