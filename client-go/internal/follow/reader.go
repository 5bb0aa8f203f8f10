package follow

import (
	"cmp"
	"slices"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

const (
	// gapWait is how long a reader waits for missing events before it fetches
	// them: frames may arrive out of order.
	gapWait = 250 * time.Millisecond
	// maxGap is how far ahead of the position an event may be to be kept.
	maxGap = 64
)

// Reader is one reader of a stream: its position, the events that are buffered
// for it, and what it has returned. The buffer is bounded: a live event that
// does not fit is dropped and fetched later.
type Reader struct {
	limit int

	// position is the seq of the last event that was accepted.
	position   uint64
	buffer     []Event
	head       int
	bufferSize int

	// early are events after a gap, in order.
	early       []Event
	earlySize   int
	gap         bool
	gapDeadline time.Duration

	// behind is true if there are events to fetch.
	behind bool
	// endOnly means that only the end is of interest, waitEnd that this
	// becomes so when the buffer is full, reading that somebody reads the
	// events.
	endOnly, waitEnd, reading bool

	// deliveredSeq is the seq of the last event that NextEvent returned.
	deliveredSeq uint64
	attempt      int
	chunks       chunkCount
	// restarted is set if a new history has begun and NextEvent has not
	// returned that yet.
	restarted *Event

	progress    wire.Progress
	newProgress bool

	// end is the end once it is known. finished means that nothing more is
	// buffered, endTaken that NextEvent has returned the end.
	end                *Event
	finished, endTaken bool
}

// NewReader returns a reader that buffers about limit bytes of events, and at
// most one page more. With endOnly it returns no events but progress and the
// end.
func NewReader(limit int, endOnly bool) *Reader { return &Reader{limit: limit, endOnly: endOnly} }

// End returns the end once it is known, even if there are unread events before
// it.
func (r *Reader) End() *Event { return r.end }

// Progress returns the newest progress; ok is false before the first.
func (r *Reader) Progress() (p wire.Progress, ok bool) { return r.progress, r.progress.Rev > 0 }

// Fail ends the reader with an error of the client. It has no effect on a
// reader that has ended.
func (r *Reader) Fail(err *wire.ServerMessage) {
	if r.finished {
		return
	}
	r.setEnd((&Event{Kind: End, Err: err}).clone())
}

// WaitEnd says that somebody waits for the end: a buffer that is full while
// nobody reads is dropped, because it would delay the end.
func (r *Reader) WaitEnd() {
	r.waitEnd = true
	r.dropBuffer()
}

// SetReading says whether somebody reads events now. It returns true if events
// that were dropped have to be fetched again.
func (r *Reader) SetReading(reading bool) (rewound bool) {
	r.reading = reading
	if !reading {
		r.dropBuffer()
		return false
	}
	if !r.endOnly {
		return false
	}
	r.endOnly = false
	if r.end != nil && r.end.Seq == 0 {
		return false // an inline end, or an error of the client: there is nothing to fetch
	}
	r.clearBuffer()
	r.position, r.behind, r.finished, r.endTaken = r.deliveredSeq, true, false, false
	return true
}

// dropBuffer drops the buffer and waits for the end only, if somebody waits
// for the end, nobody reads, and the buffer is too full to fetch the next
// page.
func (r *Reader) dropBuffer() {
	if r.waitEnd && !r.reading && !r.endOnly && !r.finished && !r.canTakePage() {
		r.endOnly, r.gap = true, false
		r.clearBuffer()
	}
}

func (r *Reader) clearBuffer() {
	r.buffer, r.head, r.bufferSize = nil, 0, 0
	r.clearEarly()
}

func (r *Reader) clearEarly() { r.early, r.earlySize, r.gap = nil, 0, false }

// canTakePage says whether a page may be fetched.
func (r *Reader) canTakePage() bool { return r.endOnly || r.bufferSize <= r.limit/2 }

// offer passes an event to the reader. inPage means that it is part of a page,
// takesPage that the reader takes the whole page even if that overfills its
// buffer.
func (r *Reader) offer(e *Event, now time.Duration, inPage, takesPage bool) {
	if r.finished || e.Seq <= r.position && e.Seq != 0 {
		return
	}
	switch {
	case e.Seq == 0 || r.endOnly && e.Kind == End:
		r.clearBuffer()
		r.position = max(r.position, e.Seq)
		r.setEnd(e.clone())
	case r.endOnly:
		r.position = e.Seq // only the end is of interest, so gaps are not
	case e.firstSeq() <= r.position+1:
		r.accept(e, takesPage)
		r.drainEarly(now)
	case inPage:
		r.behind = true // a page that another reader of the stream has asked for
	default:
		r.keepEarly(e, now)
	}
}

// accept takes the event that comes next. An event that does not fit is
// fetched later; the end always fits.
func (r *Reader) accept(e *Event, takesPage bool) {
	if e.Kind == AttemptMark {
		r.discardUnread(e.keep)
	}
	if e.Kind != End && !takesPage && r.bufferSize >= r.limit {
		r.behind = true
		r.clearEarly()
		r.dropBuffer()
		return
	}
	r.position = e.Seq
	switch e.Kind {
	case Chunk:
		r.appendEvent(e.clone())
		r.dropBuffer()
	case AttemptMark:
		r.appendEvent(*e)
	case End:
		r.setEnd(e.clone())
	}
}

func (r *Reader) setEnd(e Event) {
	r.clearEarly()
	r.behind, r.finished = false, true
	if r.end == nil {
		r.end = &e
	}
	r.appendEvent(e)
}

func (r *Reader) appendEvent(e Event) {
	r.buffer = append(r.buffer, e)
	r.bufferSize += e.memorySize()
}

// discardUnread removes discarded chunks from the buffer that were not read
// yet.
func (r *Reader) discardUnread(keep uint64) {
	for n := len(r.buffer); n > r.head; n-- {
		last := &r.buffer[n-1]
		if last.Kind != Chunk || last.Seq <= keep {
			return
		}
		r.bufferSize -= last.memorySize()
		*last = Event{}
		r.buffer = r.buffer[:n-1]
	}
}

// keepEarly keeps an event after a gap, if it is near and there is room.
func (r *Reader) keepEarly(e *Event, now time.Duration) {
	if e.Seq > r.position+maxGap || r.earlySize >= r.limit {
		r.behind = true
		r.dropBuffer()
		return
	}
	at, found := slices.BinarySearchFunc(r.early, e.Seq, func(h Event, seq uint64) int { return cmp.Compare(h.Seq, seq) })
	if found {
		return
	}
	r.early = slices.Insert(r.early, at, e.clone())
	r.earlySize += e.memorySize()
	if !r.gap {
		r.gap, r.gapDeadline = true, now+gapWait
	}
}

// drainEarly accepts the early events that are no longer after a gap.
func (r *Reader) drainEarly(now time.Duration) {
	if !r.gap || r.finished {
		return
	}
	taken := 0
	for taken < len(r.early) {
		e := &r.early[taken]
		if e.Seq > r.position {
			if e.firstSeq() > r.position+1 {
				break
			}
			r.accept(e, false)
			if len(r.early) == 0 {
				return // accept had no room, or took the end
			}
		}
		r.earlySize -= e.memorySize()
		taken++
	}
	if r.early = slices.Delete(r.early, 0, taken); len(r.early) == 0 {
		r.clearEarly()
	} else if taken > 0 {
		r.gapDeadline = now + gapWait
	}
}

// setProgress takes progress if it is newer than the last.
func (r *Reader) setProgress(p *wire.Progress) {
	if r.finished || p.Attempt < r.progress.Attempt || p.Attempt == r.progress.Attempt && p.Rev <= r.progress.Rev {
		return
	}
	r.progress, r.newProgress = *p, true
}

// Restart begins a new history that has nothing to do with the previous one.
func (r *Reader) Restart(attempt int) {
	if r.finished {
		return
	}
	r.clearBuffer()
	r.position, r.behind = 0, false
	r.progress, r.newProgress = wire.Progress{}, false
	r.deliveredSeq = 0
	if r.chunks.total() > 0 || r.attempt > 1 {
		r.restarted = &Event{Kind: AttemptMark, Attempt: attempt, Restart: true}
	}
}

// needsPage says whether events must be fetched.
func (r *Reader) needsPage(now time.Duration) bool { return r.behind || r.gap && now >= r.gapDeadline }

// NextEvent returns the next event; ok is false if there is none yet.
func (r *Reader) NextEvent() (e Event, ok bool) {
	if r.restarted != nil {
		e, r.restarted = *r.restarted, nil
		e.Discarded, r.attempt = r.chunks.reset(), e.Attempt
		return e, true
	}
	waiting := len(r.buffer) > r.head
	if r.newProgress && !(waiting && r.progress.Attempt > max(r.attempt, 1)) {
		r.newProgress = false
		return Event{Kind: Progress, Attempt: r.progress.Attempt, Progress: r.progress}, true
	}
	if !waiting {
		return Event{}, false
	}
	e = r.buffer[r.head]
	r.buffer[r.head] = Event{}
	r.bufferSize -= e.memorySize()
	if r.head++; r.head == len(r.buffer) {
		r.buffer, r.head = r.buffer[:0], 0
	}
	switch e.Kind {
	case Chunk:
		r.chunks.addChunk(e.Seq)
		r.deliveredSeq = e.Seq
	case AttemptMark:
		e.Discarded = r.chunks.discardAfter(e.keep)
		r.deliveredSeq, r.attempt = e.Seq, e.Attempt
		if r.progress.Attempt < e.Attempt {
			r.newProgress = false // of an earlier attempt
		}
	case End:
		r.endTaken = true
	}
	return e, true
}

// EndTaken says whether NextEvent has returned the end.
func (r *Reader) EndTaken() bool { return r.endTaken }

// BufferSize is about how many bytes of events are buffered.
func (r *Reader) BufferSize() int { return r.bufferSize }

// Finished says whether the reader takes no more events.
func (r *Reader) Finished() bool { return r.finished }

// CanResume says whether the reader has room again for events that it lacks.
func (r *Reader) CanResume() bool { return !r.finished && (r.behind || r.gap) && r.canTakePage() }
