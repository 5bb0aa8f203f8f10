package engine

import (
	"context"
	"encoding/json"
	"math"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/store"
)

// Bounds of what an attempt holds back while a Record is under way.
const (
	maxPendingBytes  = 256 << 10
	maxPendingEvents = 1024
)

// reporter writes what a stored attempt reports: one goroutine at a time records
// what is pending until nothing is, so what comes during one Record goes with the
// next. It is safe for concurrent use.
type reporter struct {
	e     *Engine
	key   store.Key
	owner reporterOwner

	mu sync.Mutex
	// changed: pending was taken, flushing became false, or the reporter closed.
	changed sync.Cond
	open    bool
	closed  bool
	fence   store.Fence
	attempt int
	// next is the seq of the next chunk, kept that of the last chunk that is not
	// discarded.
	next, kept uint64
	// mark is that of this attempt, which its first segment stores; nil: it is
	// stored, or there is none.
	mark *store.AttemptMark

	pending        []store.Event
	bytes          int
	checkpoint     []byte
	checkpointKeep uint64
	renew          bool

	progress *store.Progress // newest
	dirty    bool            // progress is newer than the store's
	feed     *deliver.Feed   // nil until there is progress to send

	flushing bool
	lost     bool // the claim
	// lastRecordBegun is when the newest Record began, or the claim was taken.
	lastRecordBegun time.Time
	timer           *time.Timer
}

// reporterOwner is called when the store's reply affects the attempt.
type reporterOwner interface {
	onCancelled()   // the call is cancelled
	onFenced(error) // the attempt may not write any more
}

func newReporter(e *Engine, key store.Key, attempt int, owner reporterOwner) *reporter {
	r := &reporter{e: e, key: key, attempt: attempt, owner: owner}
	r.changed.L = &r.mu
	return r
}

// startStored starts to write for an attempt that runs already.
func (r *reporter) startStored(s *store.State, fence store.Fence) {
	r.mu.Lock()
	r.start(s, fence)
	p := r.progress
	var f *deliver.Feed
	if p != nil {
		f = r.openFeed()
	}
	r.mu.Unlock()
	if f != nil {
		f.Progress(p)
	}
	r.startTimer()
}

// start starts to write under a claim, of which the state is given. The lock is
// held, or no other goroutine knows the reporter.
func (r *reporter) start(s *store.State, fence store.Fence) {
	r.open, r.fence, r.attempt = true, fence, s.Attempt
	r.next, r.kept, r.mark = s.LastSeq+1, s.Keep, s.AttemptMark
}

// startTimer renews the lease from now on, if there is one.
func (r *reporter) startTimer() {
	if r.fence.Lease <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastRecordBegun = time.Now()
	r.timer = time.AfterFunc(r.timerInterval(), r.onTimer)
}

func (r *reporter) timerInterval() time.Duration { return min(r.e.CancelPoll, r.fence.Lease/3) }

// silent reports whether reports are ignored from now on. The lock is held.
func (r *reporter) silent() bool { return r.closed || r.lost }

// emit adds a chunk. It blocks while too much is pending. It returns false if
// the attempt is not stored yet.
func (r *reporter) emit(data json.RawMessage) (open bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.open && !r.silent() && r.bytes > 0 && (r.bytes+len(data) > maxPendingBytes || len(r.pending) >= maxPendingEvents) {
		r.changed.Wait()
	}
	if !r.open || r.silent() {
		return r.open
	}
	r.pending = append(r.pending, store.Event{Kind: store.Chunk, Seq: r.next, Attempt: r.attempt, Data: data})
	r.kept = r.next
	r.next++
	r.bytes += len(data) + 1
	r.startFlush()
	return true
}

// setCheckpoint replaces the checkpoint; it is stored together with the chunks
// before it. It returns false if the attempt is not stored yet.
func (r *reporter) setCheckpoint(data json.RawMessage) (open bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.open || r.silent() {
		return r.open
	}
	r.checkpoint, r.checkpointKeep = data, r.kept
	r.startFlush()
	return true
}

// setProgress replaces the newest progress. It is sent at once, and stored with
// the next write.
func (r *reporter) setProgress(percent float64, message string) {
	r.mu.Lock()
	if r.silent() || math.IsNaN(percent) {
		r.mu.Unlock()
		return
	}
	p := &store.Progress{Attempt: r.attempt, Rev: 1, Percent: min(max(percent, 0), 100), Message: message}
	if old := r.progress; old != nil {
		p.Rev, p.Percent = old.Rev+1, max(p.Percent, old.Percent)
	}
	r.progress, r.dirty = p, true
	f := r.openFeed()
	r.mu.Unlock()
	if f != nil {
		f.Progress(p)
	}
}

// openFeed returns the feed to send progress to; nil: the attempt is not stored.
// The lock is held.
func (r *reporter) openFeed() *deliver.Feed {
	if r.open && r.feed == nil {
		r.feed = r.e.Notifier.Feed(r.e.ctx, r.key)
	}
	return r.feed
}

func (r *reporter) newestProgress() *store.Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress
}

// startFlush has what is pending written. The lock is held.
func (r *reporter) startFlush() {
	if !r.flushing {
		r.flushing = true
		go r.flush()
	}
}

func (r *reporter) flush() {
	for {
		report, events, ok := r.drainReport()
		if !ok {
			return
		}
		var state store.State
		err := r.e.persist(func(ctx context.Context) (err error) {
			state, err = r.e.Store.Record(ctx, r.fence, report)
			return err
		})
		if err != nil {
			r.markLost(err)
			return
		}
		r.e.Notifier.Publish(r.e.ctx, &state, events...)
		if state.CancelRequested {
			r.owner.onCancelled()
		}
	}
}

// drainReport takes what is to be recorded, or ends the flushing if there is
// nothing.
func (r *reporter) drainReport() (report store.Report, events []store.Event, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.pending) == 0 && r.checkpoint == nil && !r.renew {
		r.flushing = false
		r.changed.Broadcast()
		return store.Report{}, nil, false
	}
	report, events = r.takePending()
	r.lastRecordBegun = time.Now()
	return report, events, true
}

// takePending returns what is pending as a report, and its events without the attempt's
// mark, which was published when it was made. The lock is held.
func (r *reporter) takePending() (store.Report, []store.Event) {
	report := store.Report{Checkpoint: r.checkpoint, CheckpointKeep: r.checkpointKeep}
	events := r.pending
	if len(events) > 0 {
		segment := &store.Segment{First: events[0].Seq, Last: events[len(events)-1].Seq, Events: events}
		if r.mark != nil {
			segment.First = r.mark.From
			segment.Events = append([]store.Event{r.mark.Event()}, events...)
			r.mark = nil
		}
		report.Segment = segment
	}
	if r.dirty {
		report.Progress, r.dirty = r.progress, false
	}
	r.pending, r.bytes, r.checkpoint, r.renew = nil, 0, nil, false
	r.changed.Broadcast()
	return report, events
}

// markLost ends the writing, because a Record has failed for good: the claim is
// lost.
func (r *reporter) markLost(err error) {
	r.mu.Lock()
	r.flushing, r.lost = false, true
	r.changed.Broadcast()
	r.mu.Unlock()
	r.owner.onFenced(err)
}

// close ends the writing when a Record under way has returned, and returns what
// is still to be written. If ok is false the claim is lost.
func (r *reporter) close() (report store.Report, events []store.Event, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
	for r.flushing {
		r.changed.Wait()
	}
	if r.lost {
		return store.Report{}, nil, false
	}
	report, events = r.takePending()
	return report, events, true
}

// closeFeed sends the newest progress if it was not sent yet.
func (r *reporter) closeFeed() {
	if r.feed != nil { // closed: it does not change any more
		r.feed.Close()
	}
}

// onTimer renews the lease, or asks the store whether the call was cancelled: on
// a store with leases another process may have done that.
func (r *reporter) onTimer() {
	r.mu.Lock()
	closed := r.closed || r.lost
	quiet := time.Since(r.lastRecordBegun)
	switch {
	case closed:
	case quiet >= r.fence.Lease/3:
		r.renew = true
		r.startFlush()
	}
	r.mu.Unlock()
	if closed {
		return
	}
	if quiet >= r.e.CancelPoll {
		if s, _, err := r.e.Store.Read(r.e.ctx, r.key, 0, 0); err == nil && s.CancelRequested {
			r.owner.onCancelled()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && !r.lost {
		r.timer.Reset(r.timerInterval())
	}
}
