package engine

import (
	"container/heap"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/store"
)

// schedule is the scheduler's queue: hints that wait for their time, and hints
// that wait for a worker, by tenant, so that tenants take turns. It has no clock
// and no lock.
type schedule struct {
	limit  int
	items  map[store.Key]*item
	counts map[string]int // items of each tenant
	timed  timedItems
	ready  map[string]*readyQueue
	turns  []*readyQueue
	// quarantined requests wait in a queue of their own: one runs at a time.
	quarantined readyQueue
	waiting     int // ready items that are not quarantined
}

// item is one hint.
type item struct {
	hint store.Hint
	// moment is when something must be done about it: until it is ready, its
	// Due; then, the earlier of its Deadline and its CancelAt.
	moment time.Time
	index  int // in timed; -1: not there
	queue  *readyQueue
	gone   bool
}

func (it *item) setMoment() {
	it.moment = it.hint.Due
	if it.queue == nil {
		return
	}
	it.moment = it.hint.Deadline
	if at := it.hint.CancelAt; !at.IsZero() && at.Before(it.moment) {
		it.moment = at
	}
}

// readyQueue holds ready items, first in, first out. A removed item leaves a
// place that is closed when half of the places are such.
type readyQueue struct {
	tenant string
	items  []*item
	gone   int
}

func (q *readyQueue) add(it *item) {
	it.queue = q
	q.items = append(q.items, it)
}

func (q *readyQueue) remove(it *item) {
	it.queue = nil
	if q.gone++; q.gone > 32 && 2*q.gone > len(q.items) {
		q.items = slices.DeleteFunc(q.items, func(it *item) bool { return it.gone })
		q.gone = 0
	}
}

// take removes the first item; nil: there is none.
func (q *readyQueue) take() *item {
	for len(q.items) > 0 {
		it := q.items[0]
		q.items[0] = nil
		q.items = q.items[1:]
		if !it.gone {
			it.queue = nil
			return it
		}
		q.gone--
	}
	return nil
}

func newSchedule(limit int) *schedule {
	return &schedule{limit: limit, items: map[store.Key]*item{}, counts: map[string]int{}, ready: map[string]*readyQueue{}}
}

func (s *schedule) len() int { return len(s.items) }

// push adds a hint, and reports whether there was room for it; no tenant gets all
// the room. Of two hints for one request the earlier Due counts, and the CancelAt
// of the newer Watch.
func (s *schedule) push(h store.Hint, now time.Time) bool {
	if old := s.items[h.Key]; old != nil {
		s.merge(old, &h, now)
		return true
	}
	if !quota.WithinFairShare(int64(s.counts[h.Tenant]), int64(len(s.items)), int64(s.limit)) {
		return false
	}
	it := &item{hint: h, index: -1}
	s.items[h.Key] = it
	s.counts[h.Tenant]++
	s.place(it, now)
	return true
}

func (s *schedule) merge(old *item, h *store.Hint, now time.Time) {
	if h.Watch > old.hint.Watch {
		old.hint.Watch, old.hint.CancelAt = h.Watch, h.CancelAt
	}
	if old.queue == nil && h.Due.Before(old.hint.Due) {
		watch, cancelAt := old.hint.Watch, old.hint.CancelAt
		old.hint = *h
		old.hint.Watch, old.hint.CancelAt = watch, cancelAt
		heap.Remove(&s.timed, old.index)
		s.place(old, now)
		return
	}
	old.setMoment()
	heap.Fix(&s.timed, old.index)
}

// place puts an item where it waits for its time, or for a worker.
func (s *schedule) place(it *item, now time.Time) {
	if h := &it.hint; !h.Due.After(now) && !isLate(h, now) {
		s.makeReady(it)
		return
	}
	it.setMoment()
	heap.Push(&s.timed, it)
}

// isQuarantined reports whether a claim of the hint's request would be in
// quarantine.
func isQuarantined(h *store.Hint) bool {
	crashes := h.CrashCount
	if h.Status == store.Running {
		crashes++
	}
	return crashes >= store.QuarantineAfter
}

func (s *schedule) makeReady(it *item) {
	switch q := s.ready[it.hint.Tenant]; {
	case isQuarantined(&it.hint):
		s.quarantined.add(it)
	case q != nil:
		s.waiting++
		q.add(it)
	default:
		s.waiting++
		q = &readyQueue{tenant: it.hint.Tenant}
		s.ready[q.tenant] = q
		s.turns = append(s.turns, q)
		q.add(it)
	}
	it.setMoment()
	heap.Push(&s.timed, it)
}

// advance makes ready what has become due, and returns what is late: it is
// removed from the schedule.
func (s *schedule) advance(now time.Time) (late []store.Hint) {
	for len(s.timed) > 0 && !s.timed[0].moment.After(now) {
		it := s.timed[0]
		if isLate(&it.hint, now) {
			s.drop(it)
			late = append(late, it.hint)
			continue
		}
		heap.Pop(&s.timed)
		s.makeReady(it)
	}
	return late
}

// pop removes the next ready hint of the tenant whose turn it is; with
// quarantine, a quarantined one first.
func (s *schedule) pop(quarantine bool) (store.Hint, bool) {
	if quarantine {
		if it := s.quarantined.take(); it != nil {
			s.drop(it)
			return it.hint, true
		}
	}
	for len(s.turns) > 0 {
		q := s.turns[0]
		s.turns = s.turns[1:]
		it := q.take()
		if len(q.items) > 0 {
			s.turns = append(s.turns, q)
		} else {
			delete(s.ready, q.tenant)
		}
		if it != nil {
			s.waiting--
			s.drop(it)
			return it.hint, true
		}
	}
	return store.Hint{}, false
}

// remove forgets a request.
func (s *schedule) remove(k store.Key) {
	if it := s.items[k]; it != nil {
		s.drop(it)
	}
}

// drop removes an item; in its queue its place stays, marked.
func (s *schedule) drop(it *item) {
	if it.index >= 0 {
		heap.Remove(&s.timed, it.index)
	}
	it.gone = true
	if q := it.queue; q != nil {
		q.remove(it)
		if q != &s.quarantined {
			s.waiting--
		}
	}
	delete(s.items, it.hint.Key)
	if s.counts[it.hint.Tenant]--; s.counts[it.hint.Tenant] == 0 {
		delete(s.counts, it.hint.Tenant)
	}
}

// next is when advance has something to do.
func (s *schedule) next() (time.Time, bool) {
	if len(s.timed) == 0 {
		return time.Time{}, false
	}
	return s.timed[0].moment, true
}

// timedItems is a heap of items, the earliest moment first.
type timedItems []*item

func (t timedItems) Len() int           { return len(t) }
func (t timedItems) Less(i, j int) bool { return t[i].moment.Before(t[j].moment) }
func (t timedItems) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

func (t *timedItems) Push(x any) {
	it := x.(*item)
	it.index = len(*t)
	*t = append(*t, it)
}

func (t *timedItems) Pop() any {
	old := *t
	it := old[len(old)-1]
	old[len(old)-1] = nil
	it.index = -1
	*t = old[:len(old)-1]
	return it
}
