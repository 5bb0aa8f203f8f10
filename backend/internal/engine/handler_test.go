package engine

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
)

var noLog = slog.New(slog.DiscardHandler)

// The handlers run in bubbles, where time is fake.

type handler = func(ctx context.Context, in any, call *core.Call) ([]byte, error)

func ok(result string) handler {
	return func(context.Context, any, *core.Call) ([]byte, error) { return []byte(result), nil }
}

// takes reports progress, and returns after d or at the end of its context.
func takes(d time.Duration) handler {
	return func(ctx context.Context, _ any, call *core.Call) ([]byte, error) {
		call.Sink.Progress(10, "begun")
		select {
		case <-time.After(d):
			return []byte(`1`), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func untilDone(ctx context.Context, _ any, _ *core.Call) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// lateBy returns when d has passed since the end of its context.
func lateBy(d time.Duration) handler {
	return func(ctx context.Context, _ any, _ *core.Call) ([]byte, error) {
		<-ctx.Done()
		<-time.After(d) // fake
		return nil, ctx.Err()
	}
}

// does returns after it has done something with its call.
func does(do func(call *core.Call)) handler {
	return func(_ context.Context, _ any, call *core.Call) ([]byte, error) {
		do(call)
		return []byte(`1`), nil
	}
}

// sleeps returns after d, whatever happens to its context.
func sleeps(d time.Duration) handler {
	return does(func(*core.Call) { <-time.After(d) }) // fake
}

func chunk(call *core.Call, n int) { call.Sink.Emit(json.RawMessage(strconv.Itoa(n))) }

// firstReturns returns an error from the first attempt, and succeeds afterwards.
func firstReturns(err error) handler {
	return func(_ context.Context, _ any, call *core.Call) ([]byte, error) {
		if call.Info.Attempt == 1 {
			return nil, err
		}
		return []byte(`1`), nil
	}
}

// counter counts how often something runs, and how often at a time.
type counter struct{ total, now, most atomic.Int32 }

// count counts a run, which lasts until end is called.
func (c *counter) count() (end func()) {
	c.total.Add(1)
	now := c.now.Add(1)
	for {
		most := c.most.Load()
		if now <= most || c.most.CompareAndSwap(most, now) {
			return func() { c.now.Add(-1) }
		}
	}
}

// of returns a handler whose runs are counted.
func (c *counter) of(next handler) handler {
	return func(ctx context.Context, in any, call *core.Call) ([]byte, error) {
		defer c.count()()
		return next(ctx, in, call)
	}
}
