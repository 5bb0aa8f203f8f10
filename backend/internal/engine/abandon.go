package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/store"
)

// abandon cancels calls that have CancelAfter when nobody has followed them
// for so long.
type abandon struct {
	e *Engine

	mu      sync.Mutex
	calls   map[store.Key]*abandonable
	own     map[string]int // calls of each tenant
	stopped bool
}

// maxAbandonable bounds the calls that are watched, of which no tenant gets
// all: each takes memory for as long as it is stored and has not ended.
const maxAbandonable = 100_000

// abandonRetry is after how long a cancel that failed is tried again.
const abandonRetry = 5 * time.Second

type abandonable struct {
	after time.Duration
	timer *time.Timer // nil while somebody follows
}

func (b *abandon) init(e *Engine) {
	b.e, b.calls, b.own = e, map[store.Key]*abandonable{}, map[string]int{}
}

// load finds the calls that were there before this process: nobody follows
// them yet.
func (b *abandon) load(ctx context.Context) error {
	source, ok := b.e.Store.(store.Abandoner)
	if !ok {
		return nil
	}
	var after store.Key
	for {
		hints, err := source.Abandonable(ctx, after, 200)
		if err != nil {
			return err
		}
		for i := range hints {
			b.add(hints[i].Key, *hints[i].CancelAfter)
			after = hints[i].Key
		}
		if len(hints) < 200 {
			return nil
		}
	}
}

// add begins to watch a call.
func (b *abandon) add(k store.Key, after time.Duration) {
	b.mu.Lock()
	if b.calls[k] == nil {
		b.own[k.Tenant]++
	}
	b.calls[k] = &abandonable{after: after}
	b.mu.Unlock()
	if !b.e.Teller.Followed(b.e.ctx, k) {
		b.unfollowed(k)
	}
}

// hasRoom tells whether a call may be watched; one that is, may be.
func (b *abandon) hasRoom(k store.Key) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[k] != nil || quota.Fair(int64(b.own[k.Tenant]), int64(len(b.calls)), maxAbandonable)
}

// forget ends the watch, for the call has ended.
func (b *abandon) forget(k store.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.calls[k]; c != nil {
		if c.timer != nil {
			c.timer.Stop()
		}
		delete(b.calls, k)
		if b.own[k.Tenant]--; b.own[k.Tenant] == 0 {
			delete(b.own, k.Tenant)
		}
	}
}

func (b *abandon) followed(k store.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.calls[k]; c != nil && c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

func (b *abandon) unfollowed(k store.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.calls[k]; c != nil && c.timer == nil && !b.stopped {
		c.timer = time.AfterFunc(c.after, func() { b.cancel(k) })
	}
}

// cancel cancels a call, unless somebody has come meanwhile.
func (b *abandon) cancel(k store.Key) {
	ctx := b.e.ctx
	if b.e.Teller.Followed(ctx, k) {
		b.followed(k)
		return
	}
	s, _, err := b.e.Store.Read(ctx, k, 0, 0)
	if err == nil && !s.Status.Ended() {
		_, err = b.e.Cancel(ctx, k, s.Subject)
	}
	switch {
	case err == nil, errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrEnded):
		b.forget(k)
	default:
		b.e.Logger.Warn("an abandoned call could not be cancelled; it will be tried again", "id", k.ID, "error", err)
		b.again(k)
	}
}

// again has the cancel tried again.
func (b *abandon) again(k store.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.calls[k]; c != nil && !b.stopped {
		c.timer = time.AfterFunc(abandonRetry, func() { b.cancel(k) })
	}
}

func (b *abandon) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	for _, c := range b.calls {
		if c.timer != nil {
			c.timer.Stop()
		}
	}
}
