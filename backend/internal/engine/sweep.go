package engine

import (
	"context"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// finishers bounds the requests that Sweep ends at a time.
const finishers = 64

// Sweep reads from the store what must be looked at until the given time, of the
// given shards at most max requests each. It ends requests whose deadline has
// passed, cancels those that no connection has followed for their CancelAfter, and
// enqueues the rest. More says that some shard holds more.
func (e *Engine) Sweep(ctx context.Context, shards []int, until time.Time, max int) (more bool, err error) {
	var late sync.WaitGroup
	defer late.Wait()
	free := make(chan struct{}, finishers)
	for _, shard := range shards {
		hints, err := e.Store.Due(ctx, shard, until, max)
		if err != nil {
			return false, err
		}
		more = more || len(hints) == max
		now := time.Now()
		for _, h := range hints {
			if !isLate(&h, now) {
				e.Dispatcher.Enqueue(h)
				continue
			}
			free <- struct{}{}
			late.Go(func() {
				defer func() { <-free }()
				e.HandleLate(ctx, h)
			})
		}
	}
	return more, nil
}

// isLate reports whether a request is to be ended rather than run.
func isLate(h *store.Hint, now time.Time) bool {
	return !h.Deadline.After(now) || !h.CancelAt.IsZero() && !h.CancelAt.After(now)
}

// reapPage is how many requests are deleted in one write.
const reapPage = 200

// Reap deletes the requests whose retention is over, if the store does not do
// that by itself.
func (e *Engine) Reap(ctx context.Context) error {
	retainer, ok := e.Store.(store.Retainer)
	if !ok {
		return nil
	}
	for ctx.Err() == nil {
		n, err := retainer.Expire(ctx, reapPage)
		if err != nil || n < reapPage {
			return err
		}
	}
	return nil
}
