package session

import (
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
)

const noDeadline = follow.NoDeadline

// timer is a time at which something is due. Its zero value is not set.
type timer struct {
	at    time.Duration
	index int // place in the heap, from 1; 0: not set
	owner timerOwner
}

// timerOwner is what a timer belongs to.
type timerOwner interface {
	onTimer(m *Machine, now time.Duration)
}

// timers is a heap of the timers that are set, the earliest first. The client
// sets one real timer for all of them.
type timers struct{ heap []*timer }

// earliest returns when the first timer is due; noDeadline if none is set.
func (h *timers) earliest() time.Duration {
	if len(h.heap) == 0 {
		return noDeadline
	}
	return h.heap[0].at
}

// reset sets a timer, whether or not it was set before.
func (h *timers) reset(t *timer, at time.Duration) {
	if at == noDeadline {
		h.stop(t)
		return
	}
	t.at = at
	if t.index == 0 {
		h.heap = append(h.heap, t)
		t.index = len(h.heap)
	}
	h.siftDown(h.siftUp(t.index - 1))
}

// stop removes a timer.
func (h *timers) stop(t *timer) {
	if t.index == 0 {
		return
	}
	i, last := t.index-1, len(h.heap)-1
	h.swap(i, last)
	h.heap[last] = nil
	h.heap = h.heap[:last]
	t.index = 0
	if i < last {
		h.siftDown(h.siftUp(i))
	}
}

// popDue removes and returns the earliest timer if it is due.
func (h *timers) popDue(now time.Duration) *timer {
	if len(h.heap) == 0 || h.heap[0].at > now {
		return nil
	}
	t := h.heap[0]
	h.stop(t)
	return t
}

func (h *timers) swap(i, j int) {
	h.heap[i], h.heap[j] = h.heap[j], h.heap[i]
	h.heap[i].index, h.heap[j].index = i+1, j+1
}

func (h *timers) siftUp(i int) int {
	for i > 0 {
		parent := (i - 1) / 2
		if h.heap[parent].at <= h.heap[i].at {
			break
		}
		h.swap(i, parent)
		i = parent
	}
	return i
}

func (h *timers) siftDown(i int) {
	for {
		smallest := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.heap); child++ {
			if h.heap[child].at < h.heap[smallest].at {
				smallest = child
			}
		}
		if smallest == i {
			return
		}
		h.swap(i, smallest)
		i = smallest
	}
}
