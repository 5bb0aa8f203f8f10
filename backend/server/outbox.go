package server

import (
	"slices"
	"sync"

	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

// outbox is what a connection is still to be sent, in order. It is safe for
// concurrent use, and costs little while it is empty.
type outbox struct {
	limit int // bytes
	// most is what not even direct answers exceed; 0: they may.
	most int

	mu    sync.Mutex
	queue []outgoing
	// taken counts messages that left, so that places in slots hold.
	taken int
	slots map[deliver.Slot]int
	bytes int // with overhead
	// flight is how large the frame is that is being written.
	flight int
	// allowed is for both.
	allowed allowance
	// writing tells that a goroutine empties the box.
	writing bool
	shut    bool
	// room is closed when bytes falls below the limit; nil: nobody waits.
	room chan struct{}
}

type outgoing struct {
	data []byte
	slot deliver.Slot // zero: none
}

// overhead is what a message takes beside its text. Without it, whoever has
// many short ones made would hold ten times what is allowed.
const overhead = 128

func (m *outgoing) size() int { return len(m.data) + overhead }

// add appends messages. Without force it refuses what exceeds the limit, with
// force what comes when most is exceeded already; and either when there is no
// memory for it. start tells that the caller
// must see to the writing.
func (o *outbox) add(force bool, messages ...[]byte) (start bool, err error) {
	size := overhead * len(messages)
	for _, m := range messages {
		size += len(m)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.shut:
		return false, deliver.ErrGone
	case !force && o.bytes > 0 && o.bytes+size > o.limit, force && o.most > 0 && o.bytes > o.most, !o.allowed.cover(int64(o.bytes + o.flight + size)):
		return false, deliver.ErrFull
	}
	for _, m := range messages {
		o.queue = append(o.queue, outgoing{data: m})
	}
	o.bytes += size
	return o.start(), nil
}

// put appends a message, or replaces the unsent one in its slot; a lag moves to
// the end.
func (o *outbox) put(slot deliver.Slot, message []byte) (start bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut {
		return false, deliver.ErrGone
	}
	place, ok := o.slots[slot]
	if ok && slot.Type == wire.TypeLag {
		// It ends what came before it; so it moves behind that.
		o.bytes -= o.queue[place-o.taken].size()
		o.queue = slices.Delete(o.queue, place-o.taken, place-o.taken+1)
		for s, p := range o.slots {
			if p > place {
				o.slots[s] = p - 1
			}
		}
		ok = false
	}
	if ok {
		old := &o.queue[place-o.taken]
		o.bytes += len(message) - len(old.data)
		old.data = message
		return false, nil
	}
	if o.slots == nil {
		o.slots = map[deliver.Slot]int{}
	}
	o.slots[slot] = o.taken + len(o.queue)
	o.queue = append(o.queue, outgoing{message, slot})
	o.bytes += len(message) + overhead
	_ = o.allowed.cover(int64(o.bytes + o.flight)) // it is never refused: there is one a slot
	return o.start(), nil
}

func (o *outbox) start() bool {
	start := !o.writing
	o.writing = true
	return start
}

// take returns the next frame in buf: one message, or a batch of those that
// wait, at most as large as a server's message may be. ok is false when there
// is none; then the caller writes no more.
func (o *outbox) take(buf []byte) (frame []byte, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		o.writing, o.queue, o.slots, o.flight = false, nil, nil, 0
		o.allowed.settle(0)
		return nil, false
	}
	n, size := 1, len(o.queue[0].data)+2
	for n < len(o.queue) && size+len(o.queue[n].data)+1 <= wire.MaxServerMessage {
		size += len(o.queue[n].data) + 1
		n++
	}
	buf = buf[:0]
	for i, m := range o.queue[:n] {
		switch {
		case n == 1:
		case i == 0:
			buf = append(buf, '[')
		default:
			buf = append(buf, ',')
		}
		buf = append(buf, m.data...)
		o.bytes -= m.size()
		if m.slot != (deliver.Slot{}) {
			delete(o.slots, m.slot)
		}
		o.queue[i] = outgoing{}
	}
	if n > 1 {
		buf = append(buf, ']')
	}
	o.queue = o.queue[n:]
	o.taken += n
	o.flight = len(buf)
	o.allowed.settle(int64(o.bytes + o.flight))
	if o.room != nil && o.bytes <= o.limit {
		close(o.room)
		o.room = nil
	}
	return buf, true
}

// wait returns a channel that is closed when the box is below its limit, or
// nil if it is.
func (o *outbox) wait() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes <= o.limit || o.shut {
		return nil
	}
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// close refuses what comes from now on, and drops what was not sent.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop()
}

// end is close with a last message, which is sent yet. start tells that the
// caller must see to the writing.
func (o *outbox) end(message []byte) (start bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut {
		return false
	}
	o.drop()
	o.queue, o.bytes = []outgoing{{data: message}}, len(message)+overhead
	return o.start()
}

func (o *outbox) drop() {
	o.shut, o.queue, o.slots, o.bytes = true, nil, nil, 0
	o.allowed.settle(0)
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}
