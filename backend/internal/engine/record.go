package engine

import (
	"context"
	"encoding/json"
	"math"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/store"
)

// Bounds of what an attempt holds back while a Record is under way.
const (
	maxPendingBytes  = 256 << 10
	maxPendingEvents = 1024
)

// record is what an attempt has reported and the store does not have yet. It
// belongs to its attempt's lock.
type record struct {
	// next is the seq of the next chunk; kept that of the last chunk that is
	// not void.
	next, kept uint64
	// mark is the attempt's own until a segment has begun with it.
	mark    *store.Mark
	attempt int

	pending []store.Event
	bytes   int

	checkpoint     []byte
	checkpointKeep uint64

	progress *store.Progress // newest
	dirty    bool            // progress is newer than the store's

	flushing bool
	renew    bool
	lost     bool
}

func (r *record) begin(s *store.State) {
	r.next, r.kept, r.mark, r.attempt = s.LastSeq+1, s.Keep, s.Mark, s.Attempt
}

// Emit implements core.Sink. An inline call is promoted first.
func (a *attempt) Emit(data json.RawMessage) {
	a.durable(func() bool {
		r := &a.record
		for r.bytes > 0 && (r.bytes+len(data) > maxPendingBytes || len(r.pending) >= maxPendingEvents) {
			a.moved.Wait()
			if a.phase != stored {
				return false
			}
		}
		r.pending = append(r.pending, store.Event{Kind: store.Chunk, Seq: r.next, Attempt: r.attempt, Data: data})
		r.kept = r.next
		r.next++
		r.bytes += len(data) + 1
		return true
	})
}

// Checkpoint implements core.Sink. It is true together with the chunks before
// it. An inline call is promoted first.
func (a *attempt) Checkpoint(data json.RawMessage) {
	a.durable(func() bool {
		a.record.checkpoint, a.record.checkpointKeep = data, a.record.kept
		return true
	})
}

// durable does something to the record of a stored attempt, and has it
// written. On an attempt that is settled it does nothing.
func (a *attempt) durable(do func() bool) {
	a.mu.Lock()
	if a.phase == inline || a.phase == promoting {
		a.mu.Unlock()
		a.promote()
		a.mu.Lock()
	}
	defer a.mu.Unlock()
	if a.phase == stored && a.fatal == nil && do() {
		a.kick()
	}
}

// Progress implements core.Sink.
func (a *attempt) Progress(percent float64, message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase == finishing || a.phase == settled || math.IsNaN(percent) {
		return
	}
	p := &store.Progress{Attempt: a.call.Info.Attempt, Rev: 1, Percent: min(max(percent, 0), 100), Message: message}
	if old := a.record.progress; old != nil {
		p.Rev, p.Percent = old.Rev+1, max(p.Percent, old.Percent)
	}
	a.record.progress, a.record.dirty = p, true
	if a.phase == stored {
		a.coalesce.Report(p)
	}
}

// Fail implements core.Sink.
func (a *attempt) Fail(err error) {
	a.mu.Lock()
	if a.fatal == nil {
		a.fatal = err
	}
	a.mu.Unlock()
	a.end(err)
}

// kick has what is pending written, by one goroutine at a time.
func (a *attempt) kick() {
	if !a.record.flushing {
		a.record.flushing = true
		go a.flush()
	}
}

// flush records what is pending until nothing is: what comes while one Record
// is under way goes with the next.
func (a *attempt) flush() {
	for {
		a.mu.Lock()
		r := &a.record
		if a.phase != stored || len(r.pending) == 0 && r.checkpoint == nil && !r.renew {
			r.flushing = false
			a.moved.Broadcast()
			a.mu.Unlock()
			return
		}
		report, events := a.take()
		a.mu.Unlock()
		var state store.State
		err := a.e.persist(func(ctx context.Context) (err error) {
			state, err = a.e.Store.Record(ctx, a.fence, report)
			return err
		})
		if err != nil {
			a.lose(err)
			return
		}
		a.e.Teller.Events(a.e.ctx, &state, events...)
		if state.CancelRequested {
			a.end(core.ErrCancelled)
		}
	}
}

// take returns what is pending as a report, and its events without the mark,
// which was told when it was made.
func (a *attempt) take() (store.Report, []store.Event) {
	r := &a.record
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
	a.moved.Broadcast()
	return report, events
}

// lose ends an attempt that may not write any more.
func (a *attempt) lose(err error) {
	a.log().Warn("the attempt lost its claim", "error", err)
	a.end(core.ErrFenced)
	a.mu.Lock()
	a.record.flushing, a.record.lost = false, true
	a.moved.Broadcast()
	mine := a.phase == stored
	if mine {
		a.phase = finishing
	}
	a.mu.Unlock()
	if mine {
		a.close()
	}
}
