package memory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// Read implements store.RequestQueue.
func (s *Store) Read(ctx context.Context, key store.Key, after uint64, max int) (store.State, []store.Event, error) {
	if err := ctx.Err(); err != nil {
		return store.State{}, nil, err
	}
	return s.readEvents(key, after, max)
}

func (s *Store) readEvents(key store.Key, after uint64, max int) (store.State, []store.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.findRecord(key, s.opt.Now())
	if r == nil {
		return store.State{}, nil, store.ErrNotFound
	}
	if max <= 0 {
		return r.state, nil, nil
	}
	page := store.NewEventPage(max)
	for p := after; p < r.state.LastSeq; {
		e, ok := r.event(p)
		if !ok {
			return store.State{}, nil, fmt.Errorf("no segment holds seq %d", p+1)
		}
		e.Data = bytes.Clone(e.Data)
		if !page.Add(e) {
			break
		}
		p = e.Seq
	}
	return r.state, page.Events, nil
}

// event returns the event that follows position p. Of all segments that cover
// p+1 the one with the highest fence counts; the state's own mark counts as
// one.
func (r *record) event(p uint64) (store.Event, bool) {
	switch {
	case p == 0:
		return store.Event{Kind: store.Ack, Seq: 1}, true
	case r.end != nil && p+1 == r.state.LastSeq:
		return r.end.Event(r.state.LastSeq), true
	}
	if m := r.state.AttemptMark; m != nil && m.From <= p+1 && p+1 <= m.Seq {
		return m.Event(), true
	}
	var best *segment
	for i := range r.segments {
		g := &r.segments[i]
		if g.First <= p+1 && p+1 <= g.Last && g.Last <= r.state.LastSeq && (best == nil || g.fence > best.fence) {
			best = g
		}
	}
	if best != nil {
		for _, e := range best.Events {
			if e.First() <= p+1 && p+1 <= e.Seq {
				return e, true
			}
		}
	}
	return store.Event{}, false
}

// List implements store.RequestQueue.
func (s *Store) List(ctx context.Context, q store.Query, cursor string) ([]store.Summary, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	return s.listRequests(&q, cursor)
}

func (s *Store) listRequests(q *store.Query, cursor string) ([]store.Summary, string, error) {
	var at *store.Position
	if cursor != "" {
		p, err := store.ParseCursor(cursor, q.Filter()...)
		if err != nil {
			return nil, "", err
		}
		at = &p
	}
	found := s.summaries(func(t *store.State) bool {
		return t.Tenant == q.Tenant &&
			(q.Subject == "" || t.Subject == q.Subject) && (q.Status == "" || t.Status == q.Status) &&
			(q.Action == "" || t.Action == q.Action) &&
			(q.From.IsZero() || !t.Accepted.Before(q.From)) && (q.To.IsZero() || t.Accepted.Before(q.To)) &&
			(at == nil || compare(t.Accepted, t.ID, at.Time, at.ID) < 0)
	})
	slices.SortFunc(found, func(a, b store.Summary) int { return compare(b.Accepted, b.ID, a.Accepted, a.ID) })
	limit := store.PageSize(q.Limit, 50, 100)
	if len(found) <= limit {
		return found, "", nil
	}
	found = found[:limit]
	last := &found[limit-1]
	return found, store.Cursor(store.Position{Time: last.Accepted, ID: last.ID}, q.Filter()...), nil
}

func compare(t time.Time, id string, u time.Time, other string) int {
	return cmp.Or(t.Compare(u), cmp.Compare(id, other))
}

func (s *Store) summaries(want func(*store.State) bool) []store.Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	var out []store.Summary
	for _, r := range s.requests {
		if !r.state.Expired(now, s.opt.Retention) && want(&r.state) {
			out = append(out, r.state.Summary())
		}
	}
	return out
}

const deadLetterFilter = "dead letters"

// DeadLetters implements store.Operator.
func (s *Store) DeadLetters(ctx context.Context, limit int, cursor string) ([]store.Summary, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	var at *store.Position
	if cursor != "" {
		p, err := store.ParseCursor(cursor, deadLetterFilter)
		if err != nil {
			return nil, "", err
		}
		at = &p
	}
	found := s.summaries(func(t *store.State) bool {
		return t.DeadLetter && (at == nil || compare(t.Ended, globalID(t.Key), at.Time, at.ID) < 0)
	})
	slices.SortFunc(found, func(a, b store.Summary) int {
		return compare(b.Ended, globalID(b.Key), a.Ended, globalID(a.Key))
	})
	next := ""
	if limit = store.PageSize(limit, 50, 100); len(found) > limit {
		found = found[:limit]
		last := &found[limit-1]
		next = store.Cursor(store.Position{Time: last.Ended, ID: globalID(last.Key)}, deadLetterFilter)
	}
	return found, next, nil
}

// Input implements store.Operator.
func (s *Store) Input(ctx context.Context, key store.Key) (input, metadata []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	r := s.findRecord(key, s.opt.Now())
	if r == nil {
		s.mu.Unlock()
		return nil, nil, store.ErrNotFound
	}
	input, metadata = bytes.Clone(r.input), bytes.Clone(r.metadata)
	s.mu.Unlock()
	return input, metadata, nil
}

// globalID returns an id of the request that is unique over all tenants.
func globalID(k store.Key) string {
	return string(binary.AppendUvarint(nil, uint64(len(k.Tenant)))) + k.Tenant + k.ID
}

// Due implements store.RequestQueue.
func (s *Store) Due(ctx context.Context, shard int, until time.Time, max int) ([]store.Hint, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if shard < 0 || shard >= len(s.live) {
		return nil, fmt.Errorf("shard %d is not within 0 to %d", shard, len(s.live)-1)
	}
	out := s.hints(shard, until)
	slices.SortFunc(out, func(a, b store.Hint) int { return cmp.Or(a.Due.Compare(b.Due), compareKeys(a.Key, b.Key)) })
	out = out[:min(len(out), max)]
	return out, nil
}

func compareKeys(a, b store.Key) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.ID, b.ID))
}

func (s *Store) hints(shard int, until time.Time) (out []store.Hint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.live[shard] {
		if at := r.state.CheckAt(); !at.IsZero() && !at.After(until) {
			out = append(out, r.state.Hint())
		}
	}
	return out
}

// Expire implements store.Retainer. It also deletes expired retained cancels
// and expired connections.
func (s *Store) Expire(ctx context.Context, max int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	now := s.opt.Now()
	n := s.expireRequests(now, max)
	s.expireConnections(now)
	return n, nil
}

func (s *Store) expireRequests(now time.Time, max int) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if n == max {
			break
		}
		if r.state.Expired(now, s.opt.Retention) {
			s.forget(r)
			n++
		}
	}
	for key, until := range s.cancels {
		if !now.Before(until) {
			delete(s.cancels, key)
		}
	}
	return n
}
