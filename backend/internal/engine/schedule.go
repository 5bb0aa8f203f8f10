package engine

import (
	"container/heap"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/store"
)

// schedule is the queue in memory: hints that wait for their time, and hints
// that wait for a worker, by tenant, so that tenants take turns, and none fills
// it alone. It knows no clock and no lock.
type schedule struct {
	limit   int
	items   map[store.Key]*item
	own     map[string]int // items of each tenant
	moments moments
	ready   map[string]*line
	turns   []*line
	// suspects wait in a line of their own: one runs at a time.
	suspects line
	waiting  int // items that are ready, and no suspects
}

// item is one hint. Its moment is when it is due, or once it is ready, when
// its deadline passes.
type item struct {
	hint   store.Hint
	moment time.Time
	index  int // in moments; -1: not there
	line   *line
	gone   bool
}

// line is a line of ready items, first come first served. Who has gone leaves
// a place behind, which is closed when half of the places are such.
type line struct {
	tenant string
	items  []*item
	gone   int
}

func (l *line) add(it *item) {
	it.line = l
	l.items = append(l.items, it)
}

func (l *line) leave(it *item) {
	it.line = nil
	if l.gone++; l.gone > 32 && 2*l.gone > len(l.items) {
		l.items = slices.DeleteFunc(l.items, func(it *item) bool { return it.gone })
		l.gone = 0
	}
}

// take takes the first one out; nil: nobody is there.
func (l *line) take() *item {
	for len(l.items) > 0 {
		it := l.items[0]
		l.items[0] = nil
		l.items = l.items[1:]
		if !it.gone {
			it.line = nil
			return it
		}
		l.gone--
	}
	return nil
}

func newSchedule(limit int) *schedule {
	return &schedule{limit: limit, items: map[store.Key]*item{}, own: map[string]int{}, ready: map[string]*line{}}
}

func (s *schedule) len() int { return len(s.items) }

// push takes a hint, and tells whether there was room for one more of its
// tenant's. Of two hints for one request the earlier counts.
func (s *schedule) push(h store.Hint, now time.Time) bool {
	switch old := s.items[h.Key]; {
	case old == nil:
		if !quota.Fair(int64(s.own[h.Tenant]), int64(len(s.items)), int64(s.limit)) {
			return false
		}
	case old.line != nil || !h.At.Before(old.hint.At):
		return true
	default:
		s.drop(old)
	}
	it := &item{hint: h, moment: h.At, index: -1}
	s.items[h.Key] = it
	s.own[h.Tenant]++
	if h.At.After(now) {
		heap.Push(&s.moments, it)
	} else {
		s.makeReady(it)
	}
	return true
}

// suspect tells whether a claim of the hint's request would be a suspect's.
func suspect(h *store.Hint) bool {
	deaths := h.Deaths
	if h.Status == store.Running {
		deaths++
	}
	return deaths >= store.SuspectAfter
}

func (s *schedule) makeReady(it *item) {
	it.moment = it.hint.Deadline
	heap.Push(&s.moments, it)
	if suspect(&it.hint) {
		s.suspects.add(it)
		return
	}
	s.waiting++
	q := s.ready[it.hint.Tenant]
	if q == nil {
		q = &line{tenant: it.hint.Tenant}
		s.ready[q.tenant] = q
		s.turns = append(s.turns, q)
	}
	q.add(it)
}

// advance makes ready what has become due, and returns what was ready when its
// deadline passed; that is out of the schedule.
func (s *schedule) advance(now time.Time) (late []store.Hint) {
	for len(s.moments) > 0 && !s.moments[0].moment.After(now) {
		it := heap.Pop(&s.moments).(*item)
		if it.line != nil {
			s.drop(it)
			late = append(late, it.hint)
			continue
		}
		s.makeReady(it)
	}
	return late
}

// pop takes the next ready hint of the tenant whose turn it is; with alone, a
// suspect first.
func (s *schedule) pop(alone bool) (store.Hint, bool) {
	if alone {
		if it := s.suspects.take(); it != nil {
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

// drop takes an item out; in its line it stays, marked.
func (s *schedule) drop(it *item) {
	if it.index >= 0 {
		heap.Remove(&s.moments, it.index)
	}
	it.gone = true
	if l := it.line; l != nil {
		l.leave(it)
		if l != &s.suspects {
			s.waiting--
		}
	}
	delete(s.items, it.hint.Key)
	if s.own[it.hint.Tenant]--; s.own[it.hint.Tenant] == 0 {
		delete(s.own, it.hint.Tenant)
	}
}

// next is when advance has something to do.
func (s *schedule) next() (time.Time, bool) {
	if len(s.moments) == 0 {
		return time.Time{}, false
	}
	return s.moments[0].moment, true
}

// moments is a heap of items, the earliest moment first.
type moments []*item

func (m moments) Len() int           { return len(m) }
func (m moments) Less(i, j int) bool { return m[i].moment.Before(m[j].moment) }
func (m moments) Swap(i, j int) {
	m[i], m[j] = m[j], m[i]
	m[i].index, m[j].index = i, j
}

func (m *moments) Push(x any) {
	it := x.(*item)
	it.index = len(*m)
	*m = append(*m, it)
}

func (m *moments) Pop() any {
	old := *m
	it := old[len(old)-1]
	old[len(old)-1] = nil
	it.index = -1
	*m = old[:len(old)-1]
	return it
}
