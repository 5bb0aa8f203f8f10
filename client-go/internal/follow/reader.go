package follow

import (
	"slices"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

const (
	// holeWait is how long a reader waits for frames that were overtaken.
	holeWait = 250 * time.Millisecond
	// holeSpan is how far ahead of its position a reader waits at all.
	holeSpan = 64
)

// Reader is one reader's view of a stream: how far it has come, what waits to
// be taken, and what it was handed. Its buffer is bounded: what comes live and
// finds no room is dropped and pulled later.
type Reader struct {
	limit int

	// position is the seq of the last event that was taken from the wire.
	position uint64
	buffer   []Event
	head     int
	cost     int

	// held are events beyond a hole, in order.
	held     []Event
	heldCost int
	hole     bool
	holeAt   time.Duration

	// behind tells that there are events to be pulled.
	behind bool
	// skip tells that only the end matters; hurry, that it comes to matter
	// when the buffer is full; reading, that somebody takes what is buffered.
	skip, hurry, reading bool

	// handed is the seq of the last event that was taken by the reader.
	handed  uint64
	attempt int
	tally   tally
	// anew is set when a new history has begun and the reader was not told.
	anew *Event

	progress wire.Progress
	fresh    bool

	// end is the end once it is known; over tells that nothing more comes into
	// the buffer, taken that the end was handed out.
	end         *Event
	over, taken bool
}

// NewReader returns a reader that holds about limit bytes of events, and at
// most a page more. With skip it waits for the end alone.
func NewReader(limit int, skip bool) *Reader { return &Reader{limit: limit, skip: skip} }

// End returns the end once it is known, be there events before it to take or
// not.
func (r *Reader) End() *Event { return r.end }

// Progress returns the newest progress; ok is false before the first.
func (r *Reader) Progress() (p wire.Progress, ok bool) { return r.progress, r.progress.Rev > 0 }

// Fail ends the reader from this side: err is why. A reader that has ended
// already is left alone.
func (r *Reader) Fail(err *wire.ServerMessage) {
	if r.over {
		return
	}
	e := Event{Kind: End, Err: err}
	e.own()
	r.finish(e)
}

// Hurry says that somebody waits for the end: while nobody reads, a buffer that
// fills up is thrown away instead of holding the end back.
func (r *Reader) Hurry() {
	r.hurry = true
	r.giveWay()
}

// Read says whether somebody takes events now. It tells whether events that
// were thrown away have to be pulled again.
func (r *Reader) Read(reading bool) (rewound bool) {
	r.reading = reading
	if !reading {
		r.giveWay()
		return false
	}
	if !r.skip {
		return false
	}
	r.skip = false
	if r.end != nil && r.end.Seq == 0 {
		return false // an inline end, or one from this side: there is nothing to pull
	}
	r.clear()
	r.position, r.behind, r.over, r.taken = r.handed, true, false, false
	return true
}

// giveWay turns to waiting for the end alone when what is buffered would keep
// the next page from being asked for.
func (r *Reader) giveWay() {
	if r.hurry && !r.reading && !r.skip && !r.over && !r.ready() {
		r.skip, r.hole = true, false
		r.clear()
	}
}

func (r *Reader) clear() {
	r.buffer, r.head, r.cost = nil, 0, 0
	r.unhold()
}

func (r *Reader) unhold() { r.held, r.heldCost, r.hole = nil, 0, false }

// room tells whether a live event may be buffered, ready whether a page may be
// asked for.
func (r *Reader) room() bool  { return r.cost < r.limit }
func (r *Reader) ready() bool { return r.skip || r.cost <= r.limit/2 }

// offer hands an event to the reader. paged tells that it stands in a page,
// asked that this reader can take the page though that fill its buffer.
func (r *Reader) offer(e *Event, now time.Duration, paged, asked bool) {
	if r.over || e.Seq <= r.position && e.Seq != 0 {
		return
	}
	switch {
	case e.Seq == 0 || r.skip && e.Kind == End:
		own := *e
		own.own()
		r.clear()
		r.position = max(r.position, e.Seq)
		r.finish(own)
	case r.skip:
		r.position = e.Seq // only the end matters: holes do not
	case e.first() <= r.position+1:
		r.accept(e, asked)
		r.drain(now)
	case paged:
		r.behind = true // a page for another reader of the stream
	default:
		r.hold(e, now)
	}
}

// accept takes the event that comes next. What finds no room is pulled later;
// the end always finds some.
func (r *Reader) accept(e *Event, asked bool) {
	if e.Kind == Mark {
		r.cut(e.keep)
	}
	if e.Kind != End && !asked && !r.room() {
		r.behind = true
		r.unhold()
		r.giveWay()
		return
	}
	r.position = e.Seq
	own := *e
	switch e.Kind {
	case Chunk:
		own.own()
		r.push(own)
		r.giveWay()
	case Mark:
		r.push(own)
	case End:
		own.own()
		r.finish(own)
	}
}

func (r *Reader) finish(e Event) {
	r.unhold()
	r.behind, r.over = false, true
	if r.end == nil {
		r.end = &e
	}
	r.push(e)
}

func (r *Reader) push(e Event) {
	r.buffer = append(r.buffer, e)
	r.cost += e.cost()
}

// cut takes void chunks that nobody has taken yet out of the buffer.
func (r *Reader) cut(keep uint64) {
	for n := len(r.buffer); n > r.head; n-- {
		last := &r.buffer[n-1]
		if last.Kind != Chunk || last.Seq <= keep {
			return
		}
		r.cost -= last.cost()
		*last = Event{}
		r.buffer = r.buffer[:n-1]
	}
}

// hold keeps an event that came too early, if it is near and there is room.
func (r *Reader) hold(e *Event, now time.Duration) {
	if e.Seq > r.position+holeSpan || r.heldCost >= r.limit {
		r.behind = true
		r.giveWay()
		return
	}
	at, found := slices.BinarySearchFunc(r.held, e.Seq, func(h Event, seq uint64) int {
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
	own := *e
	own.own()
	r.held = slices.Insert(r.held, at, own)
	r.heldCost += own.cost()
	if !r.hole {
		r.hole, r.holeAt = true, now+holeWait
	}
}

// drain takes from the held events what has come into reach.
func (r *Reader) drain(now time.Duration) {
	if !r.hole || r.over {
		return
	}
	taken := 0
	for taken < len(r.held) {
		e := &r.held[taken]
		if e.Seq > r.position {
			if e.first() > r.position+1 {
				break
			}
			r.accept(e, false)
			if len(r.held) == 0 {
				return // it found no room, or was the end
			}
		}
		r.heldCost -= e.cost()
		taken++
	}
	if r.held = slices.Delete(r.held, 0, taken); len(r.held) == 0 {
		r.unhold()
	} else if taken > 0 {
		r.holeAt = now + holeWait
	}
}

// report takes progress if it is newer than what was there.
func (r *Reader) report(p *wire.Progress) {
	if r.over || p.Attempt < r.progress.Attempt || p.Attempt == r.progress.Attempt && p.Rev <= r.progress.Rev {
		return
	}
	r.progress, r.fresh = *p, true
}

// Restart begins anew, with a history that has nothing to do with the one
// before.
func (r *Reader) Restart(attempt int) {
	if r.over {
		return
	}
	r.clear()
	r.position, r.behind = 0, false
	r.progress, r.fresh = wire.Progress{}, false
	r.handed = 0
	if r.tally.total() > 0 || r.attempt > 1 {
		r.anew = &Event{Kind: Mark, Attempt: attempt, Restart: true}
	}
}

// needs tells whether events must be pulled.
func (r *Reader) needs(now time.Duration) bool { return r.behind || r.hole && now >= r.holeAt }

// Take hands out the next event; ok is false when none waits.
func (r *Reader) Take() (e Event, ok bool) {
	if r.anew != nil {
		e, r.anew = *r.anew, nil
		e.Void, r.attempt = r.tally.clear(), e.Attempt
		return e, true
	}
	waiting := len(r.buffer) > r.head
	if r.fresh && !(waiting && r.progress.Attempt > max(r.attempt, 1)) {
		r.fresh = false
		return Event{Kind: Progress, Attempt: r.progress.Attempt, Progress: r.progress}, true
	}
	if !waiting {
		return Event{}, false
	}
	e = r.buffer[r.head]
	r.buffer[r.head] = Event{}
	r.cost -= e.cost()
	if r.head++; r.head == len(r.buffer) {
		r.buffer, r.head = r.buffer[:0], 0
	}
	switch e.Kind {
	case Chunk:
		r.tally.add(e.Seq)
		r.handed = e.Seq
	case Mark:
		r.mark(&e)
	case End:
		r.taken = true
	}
	return e, true
}

func (r *Reader) mark(e *Event) {
	e.Void = r.tally.void(e.keep)
	r.handed, r.attempt = e.Seq, e.Attempt
	if r.progress.Attempt < e.Attempt {
		r.fresh = false // of an attempt that is over
	}
}

// Over tells whether the end was handed out.
func (r *Reader) Over() bool { return r.taken }

// Cost is about how many bytes wait to be taken.
func (r *Reader) Cost() int { return r.cost }

// Finished tells whether nothing more can come in.
func (r *Reader) Finished() bool { return r.over }

// Waits tells whether the reader is ready for events that it had no room for.
func (r *Reader) Waits() bool { return !r.over && (r.behind || r.hole) && r.ready() }
