package follow

import (
	"slices"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

const (
	// holeWait is how long a reader waits for frames that were overtaken.
	gapWait = 250 * time.Millisecond
	// holeSpan is how far ahead of its position a reader waits at all.
	maxGap = 64
)

// Reader is one reader's view of a stream: how far it has come, what waits to
// be taken, and what it was handed. Its buffer is bounded: what comes live and
// finds no room is dropped and pulled later.
type Reader struct {
	limit int

	// position is the seq of the last event that was taken from the wire.
	position   uint64
	buffer     []Event
	head       int
	bufferSize int

	// held are events beyond a hole, in order.
	early       []Event
	earlySize   int
	gap         bool
	gapDeadline time.Duration

	// behind tells that there are events to be pulled.
	behind bool
	// skip tells that only the end matters; hurry, that it comes to matter
	// when the buffer is full; reading, that somebody takes what is buffered.
	endOnly, waitEnd, reading bool

	// handed is the seq of the last event that was taken by the reader.
	deliveredSeq uint64
	attempt      int
	chunks       chunkCount
	// anew is set when a new history has begun and the reader was not told.
	restarted *Event

	progress    wire.Progress
	newProgress bool

	// end is the end once it is known; over tells that nothing more comes into
	// the buffer, taken that the end was handed out.
	end                *Event
	finished, endTaken bool
}

// NewReader returns a reader that holds about limit bytes of events, and at
// most a page more. With skip it waits for the end alone.
func NewReader(limit int, endOnly bool) *Reader { return &Reader{limit: limit, endOnly: endOnly} }

// End returns the end once it is known, be there events before it to take or
// not.
func (r *Reader) End() *Event { return r.end }

// Progress returns the newest progress; ok is false before the first.
func (r *Reader) Progress() (p wire.Progress, ok bool) { return r.progress, r.progress.Rev > 0 }

// Fail ends the reader from this side: err is why. A reader that has ended
// already is left alone.
func (r *Reader) Fail(err *wire.ServerMessage) {
	if r.finished {
		return
	}
	e := Event{Kind: End, Err: err}
	e.cloneData()
	r.setEnd(e)
}

// Hurry says that somebody waits for the end: while nobody reads, a buffer that
// fills up is thrown away instead of holding the end back.
func (r *Reader) WaitEnd() {
	r.waitEnd = true
	r.dropBuffer()
}

// Read says whether somebody takes events now. It tells whether events that
// were thrown away have to be pulled again.
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
		return false // an inline end, or one from this side: there is nothing to pull
	}
	r.clearBuffer()
	r.position, r.behind, r.finished, r.endTaken = r.deliveredSeq, true, false, false
	return true
}

// giveWay turns to waiting for the end alone when what is buffered would keep
// the next page from being asked for.
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

// room tells whether a live event may be buffered, ready whether a page may be
// asked for.
func (r *Reader) hasRoom() bool     { return r.bufferSize < r.limit }
func (r *Reader) canTakePage() bool { return r.endOnly || r.bufferSize <= r.limit/2 }

// offer hands an event to the reader. paged tells that it stands in a page,
// asked that this reader can take the page though that fill its buffer.
func (r *Reader) offer(e *Event, now time.Duration, inPage, takesPage bool) {
	if r.finished || e.Seq <= r.position && e.Seq != 0 {
		return
	}
	switch {
	case e.Seq == 0 || r.endOnly && e.Kind == End:
		clone := *e
		clone.cloneData()
		r.clearBuffer()
		r.position = max(r.position, e.Seq)
		r.setEnd(clone)
	case r.endOnly:
		r.position = e.Seq // only the end matters: holes do not
	case e.firstSeq() <= r.position+1:
		r.accept(e, takesPage)
		r.drainEarly(now)
	case inPage:
		r.behind = true // a page for another reader of the stream
	default:
		r.keepEarly(e, now)
	}
}

// accept takes the event that comes next. What finds no room is pulled later;
// the end always finds some.
func (r *Reader) accept(e *Event, takesPage bool) {
	if e.Kind == AttemptMark {
		r.discardUnread(e.keep)
	}
	if e.Kind != End && !takesPage && !r.hasRoom() {
		r.behind = true
		r.clearEarly()
		r.dropBuffer()
		return
	}
	r.position = e.Seq
	clone := *e
	switch e.Kind {
	case Chunk:
		clone.cloneData()
		r.appendEvent(clone)
		r.dropBuffer()
	case AttemptMark:
		r.appendEvent(clone)
	case End:
		clone.cloneData()
		r.setEnd(clone)
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

// cut takes void chunks that nobody has taken yet out of the buffer.
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

// hold keeps an event that came too early, if it is near and there is room.
func (r *Reader) keepEarly(e *Event, now time.Duration) {
	if e.Seq > r.position+maxGap || r.earlySize >= r.limit {
		r.behind = true
		r.dropBuffer()
		return
	}
	at, found := slices.BinarySearchFunc(r.early, e.Seq, func(h Event, seq uint64) int {
		switch {
		case h.Seq < seq:
			return -1
		case h.Seq > seq:
			return 1
		}
		return 0
	})
	if found {
		return
	}
	clone := *e
	clone.cloneData()
	r.early = slices.Insert(r.early, at, clone)
	r.earlySize += clone.memorySize()
	if !r.gap {
		r.gap, r.gapDeadline = true, now+gapWait
	}
}

// drain takes from the held events what has come into reach.
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
				return // it found no room, or was the end
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

// report takes progress if it is newer than what was there.
func (r *Reader) setProgress(p *wire.Progress) {
	if r.finished || p.Attempt < r.progress.Attempt || p.Attempt == r.progress.Attempt && p.Rev <= r.progress.Rev {
		return
	}
	r.progress, r.newProgress = *p, true
}

// Restart begins anew, with a history that has nothing to do with the one
// before.
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

// needs tells whether events must be pulled.
func (r *Reader) needsPage(now time.Duration) bool { return r.behind || r.gap && now >= r.gapDeadline }

// Take hands out the next event; ok is false when none waits.
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
		r.applyAttempt(&e)
	case End:
		r.endTaken = true
	}
	return e, true
}

func (r *Reader) applyAttempt(e *Event) {
	e.Discarded = r.chunks.discardAfter(e.keep)
	r.deliveredSeq, r.attempt = e.Seq, e.Attempt
	if r.progress.Attempt < e.Attempt {
		r.newProgress = false // of an attempt that is over
	}
}

// Over tells whether the end was handed out.
func (r *Reader) EndTaken() bool { return r.endTaken }

// Cost is about how many bytes wait to be taken.
func (r *Reader) BufferSize() int { return r.bufferSize }

// Finished tells whether nothing more can come in.
func (r *Reader) Finished() bool { return r.finished }

// Waits tells whether the reader is ready for events that it had no room for.
func (r *Reader) CanResume() bool { return !r.finished && (r.behind || r.gap) && r.canTakePage() }
