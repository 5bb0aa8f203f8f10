package engine

import (
	"context"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// load fills the schedule from the store: of every shard what is due first, up
// to the horizon.
func (e *Engine) load(ctx context.Context) error {
	e.mu.Lock()
	e.truncated = false
	e.mu.Unlock()
	share := max(e.MaxHints/store.Shards, 1)
	until := time.Now().Add(e.horizon())
	for shard := range store.Shards {
		hints, err := e.Store.Due(ctx, shard, until, share)
		if err != nil {
			return err
		}
		if len(hints) == share {
			e.mu.Lock()
			e.truncated = true
			e.mu.Unlock()
		}
		e.push(hints...)
	}
	return nil
}

// reload fetches hints that had found no room.
func (e *Engine) reload() {
	defer e.settled.Done()
	err := e.load(e.ctx)
	if err != nil && e.ctx.Err() == nil {
		e.Logger.Warn("the queue could not be read", "error", err)
		e.mu.Lock()
		e.truncated = true
		e.mu.Unlock()
	}
	e.mu.Lock()
	e.loading = false
	// Where nothing waits or runs any more, nobody else would ask for the rest.
	idle := e.schedule.len()+len(e.running)+len(e.entering) == 0
	e.mu.Unlock()
	if err == nil && idle {
		e.dispatch()
	}
}

// sweep asks the store now and then for what was forgotten, and has it delete
// what has expired. Hints may be lost; the store is the truth.
func (e *Engine) sweep() {
	defer e.settled.Done()
	ticker := time.NewTicker(e.Sweep)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-e.ctx.Done():
			return
		}
		e.sweepOnce()
	}
}

func (e *Engine) sweepOnce() {
	if err := e.load(e.ctx); err != nil {
		if e.ctx.Err() == nil {
			e.Logger.Warn("the sweeper could not read the queue", "error", err)
		}
		return
	}
	retainer, ok := e.Store.(store.Retainer)
	for ok && e.ctx.Err() == nil {
		n, err := retainer.Expire(e.ctx, 200)
		if err != nil {
			e.Logger.Warn("clean-up failed", "error", err)
			return
		}
		if n < 200 {
			return
		}
	}
}
