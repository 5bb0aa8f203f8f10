package deliver

import (
	"context"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// ProgressInterval is the shortest time between two sends of a call's progress.
const ProgressInterval = 50 * time.Millisecond

// Feed sends what one attempt reports. It sends the first progress at once and
// later progress at most every ProgressInterval, always the newest, none twice.
// It is safe for concurrent use.
type Feed struct {
	send func(*store.Progress)

	mu      sync.Mutex
	sent    sync.Cond       // sending became false
	newest  *store.Progress // not sent yet
	rev     uint64          // of the newest report
	last    time.Time       // of the last send; zero: none
	timer   *time.Timer     // nil: none runs
	sending bool
	closed  bool
}

// Feed returns the feed of one attempt of a call.
func (n *Notifier) Feed(ctx context.Context, k store.Key) *Feed {
	return newFeed(func(p *store.Progress) { n.progress(ctx, k, p) })
}

func newFeed(send func(*store.Progress)) *Feed {
	f := &Feed{send: send}
	f.sent.L = &f.mu
	return f
}

// Progress takes a report. One that is older than another before is ignored.
func (f *Feed) Progress(p *store.Progress) {
	f.mu.Lock()
	if f.closed || p.Rev <= f.rev {
		f.mu.Unlock()
		return
	}
	f.newest, f.rev = p, p.Rev
	due := f.arm()
	f.mu.Unlock()
	if due {
		f.flush()
	}
}

// arm reports whether the newest report is to be sent now; if it is to be sent
// later it sets the timer. The lock is held.
func (f *Feed) arm() (due bool) {
	if f.newest == nil || f.timer != nil || f.sending || f.closed {
		return false
	}
	if wait := ProgressInterval - time.Since(f.last); !f.last.IsZero() && wait > 0 {
		f.timer = time.AfterFunc(wait, func() {
			f.mu.Lock()
			f.timer = nil
			f.mu.Unlock()
			f.flush()
		})
		return false
	}
	return true
}

// flush sends the newest report, unless another goroutine does.
func (f *Feed) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.newest != nil && !f.sending {
		p := f.newest
		f.newest, f.sending, f.last = nil, true, time.Now()
		f.mu.Unlock()
		f.send(p)
		f.mu.Lock()
		f.sending = false
		f.sent.Broadcast()
		if f.newest != nil && !f.closed && !f.arm() {
			return
		}
	}
}

// Close sends the newest report if it was not sent yet. It returns when that is
// done, and nothing is sent afterwards.
func (f *Feed) Close() {
	f.mu.Lock()
	f.closed = true
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
	f.mu.Unlock()
	f.flush()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.sending {
		f.sent.Wait()
	}
}
