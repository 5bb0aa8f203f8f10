package session

import (
	"container/heap"
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

// timerFunc is a timerOwner that is a function.
type timerFunc func(m *Machine, now time.Duration)

func (f timerFunc) onTimer(m *Machine, now time.Duration) { f(m, now) }

// timers is a heap of the timers that are set, the earliest first. The client
// sets one real timer for all of them.
type timers []*timer

// earliest returns when the first timer is due; noDeadline if none is set.
func (h timers) earliest() time.Duration {
	if len(h) == 0 {
		return noDeadline
	}
	return h[0].at
}

// reset sets a timer, whether or not it was set before.
func (h *timers) reset(t *timer, at time.Duration) {
	switch {
	case at == noDeadline:
		h.stop(t)
	case t.index == 0:
		t.at = at
		heap.Push(h, t)
	default:
		t.at = at
		heap.Fix(h, t.index-1)
	}
}

// stop removes a timer.
func (h *timers) stop(t *timer) {
	if t.index != 0 {
		heap.Remove(h, t.index-1)
	}
}

// The methods of heap.Interface.

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].at < h[j].at }

func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

func (h *timers) Push(t any) {
	*h = append(*h, t.(*timer))
	t.(*timer).index = len(*h)
}

func (h *timers) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = 0
	return t
}
