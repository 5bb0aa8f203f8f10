package deliver

import (
	"context"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// ProgressInterval is the least time between two tellings of a call's
// progress.
const ProgressInterval = 50 * time.Millisecond

// Coalescer tells the progress of one attempt: the first report at once, later
// ones at most every ProgressInterval, always the newest, none twice. It is
// safe for concurrent use.
type Coalescer struct {
	tell func(*store.Progress)

	mu     sync.Mutex
	newest *store.Progress // not told yet
	last   time.Time
	timer  *time.Timer
	closed bool
}

// Coalesce returns a coalescer for one attempt of a call.
func (t *Teller) Coalesce(ctx context.Context, k store.Key) *Coalescer {
	return &Coalescer{tell: func(p *store.Progress) { t.Progress(ctx, k, p) }}
}

// Report takes a report that is newer than all before.
func (c *Coalescer) Report(p *store.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.newest = p
	if c.timer != nil {
		return
	}
	wait := ProgressInterval - time.Since(c.last)
	if c.last.IsZero() || wait <= 0 {
		c.send()
		return
	}
	c.timer = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timer = nil
		c.send()
	})
}

// Close tells what was not told yet, and nothing after that.
func (c *Coalescer) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.send()
	c.closed = true
}

// send tells the newest report. Posting does not block, so that the lock may
// be held: it keeps what is told in order.
func (c *Coalescer) send() {
	if c.newest != nil && !c.closed {
		c.tell(c.newest)
		c.newest = nil
		c.last = time.Now()
	}
}
