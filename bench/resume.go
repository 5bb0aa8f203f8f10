package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/servers"
	client "github.com/pay-theory/streamer/client-go"
	"golang.org/x/sync/errgroup"
)

// endTimeout is for how long calls may take to end. Then they count as lost.
const endTimeout = 4 * time.Minute

// resume kills a server under clients that follow calls.
func (b *bench) resume(ctx context.Context) (*table, error) {
	t := &table{
		title: "a server is killed (SIGKILL) and restarted while each client follows a call that emits chunks",
		goal:  "0 gaps, 0 duplicates, 0 lost",
		group: "connections", name: "clients", rounds: 1, // it takes long, and counts what must be 0
		columns: []column{
			medians("first chunk", value("first"), timeSpan), medians("listens after", value("listening"), timeSpan), medians("last one back", value("back"), timeSpan),
			medians("× first", func(r *load.Result) float64 { return r.Values["back"] / r.Values["first"] }, ratio),
			medians("last call ended", value("ended"), timeSpan), medians("gaps", value("gaps"), count), medians("duplicates", value("duplicates"), count),
			medians("lost", value("lost"), count),
		},
	}
	t.addNote("first chunk: from when the clients begin to connect, 32 at a time, until the last one has received a chunk of its call")
	t.addNote("back: from when the new server listens until the last one has its call's new attempt; with the client's backoff (random up to 250 ms, doubling)")
	t.addNote("every call runs when the server dies, and continues from its checkpoint: a claim, an attempt, a chunk and an end each")
	return t, b.measure(ctx, t, &line{group: count(float64(b.connections)), name: "Go client", run: b.resumeCalls})
}

const walk client.Action[servers.Params, int, int] = servers.Walk

// resumeCalls has Go clients, each with a connection and a call, resume after
// their server was killed.
func (b *bench) resumeCalls(ctx context.Context) (*load.Result, error) {
	n := b.connections
	s, err := b.start(ctx, servers.Streamer, "", servers.Options{Workers: n})
	if err != nil {
		return nil, err
	}
	// A server of any size can bear 2,000 chunks per second.
	params := servers.Params{IntervalMs: max(20, n/2)}
	waiting, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	running, waiting := errgroup.WithContext(waiting)
	var gaps, duplicates, lost atomic.Int64
	r, begun := load.NewResult(), time.Now()
	walking, back, dialling := newBarrier(n), newBarrier(n), make(chan struct{}, 32)
	for range n {
		running.Go(func() error {
			last, chunks, err := followWalk(waiting, s, params, dialling, walking, back)
			if errors.Is(err, context.DeadlineExceeded) {
				lost.Add(1)
				return nil
			}
			g, d := check(chunks, last)
			gaps.Add(int64(g))
			duplicates.Add(int64(d))
			return err
		})
	}
	if err := walking.awaitAll(waiting); err != nil {
		return nil, errors.Join(running.Wait(), err)
	}
	r.Values["first"] = float64(time.Since(begun))
	s.Kill()
	begun = time.Now()
	next, err := b.start(ctx, servers.Streamer, s.Dir, servers.Options{Workers: n, Address: s.Address})
	if err != nil {
		cancel()
		return nil, errors.Join(err, running.Wait())
	}
	r.Values["listening"], begun = float64(time.Since(begun)), time.Now()
	err = running.Wait()
	r.Values["ended"] = float64(time.Since(begun))
	if at := back.passed.Load(); at > 0 {
		r.Values["back"] = float64(time.Unix(0, at).Sub(begun))
	}
	r.Values["gaps"], r.Values["duplicates"], r.Values["lost"] = float64(gaps.Load()), float64(duplicates.Load()), float64(lost.Load())
	return r, errors.Join(err, next.Stop())
}

// followWalk makes a call on a connection of its own, and returns its result and
// its chunks.
func followWalk(ctx context.Context, s *servers.Server, params servers.Params, dialling chan struct{}, walking, back *barrier) (last int, chunks []int, err error) {
	dialling <- struct{}{}
	c, err := client.Dial(ctx, s.Target.URL, clientOptions(s))
	<-dialling
	if err != nil {
		return 0, nil, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(closing) // the server may be gone
	}()
	var first, attempt sync.Once
	return walk.With(params).
		OnChunk(func(int) { first.Do(walking.arrive) }).
		OnAttempt(func(client.Attempt) { attempt.Do(back.arrive) }).
		Collect(ctx, c)
}

// check counts what is missing and what is there twice of the chunks 1, 2, …,
// last.
func check(chunks []int, last int) (gaps, duplicates int) {
	at := 0
	for _, chunk := range chunks {
		switch {
		case chunk <= at:
			duplicates++
		case chunk > at+1:
			gaps++
		}
		at = max(at, chunk)
	}
	if at != last {
		gaps++
	}
	return gaps, duplicates
}

// barrier notes when all have arrived.
type barrier struct {
	missing atomic.Int64
	passed  atomic.Int64  // in Unix nanoseconds; 0: not yet
	all     chan struct{} // closed then
}

func newBarrier(n int) *barrier {
	b := &barrier{all: make(chan struct{})}
	b.missing.Store(int64(n))
	return b
}

func (b *barrier) arrive() {
	if b.missing.Add(-1) == 0 {
		b.passed.Store(time.Now().UnixNano())
		close(b.all)
	}
}

func (b *barrier) awaitAll(ctx context.Context) error {
	select {
	case <-b.all:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
