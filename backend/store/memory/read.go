package memory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// Read implements store.RequestQueue.
func (s *Store) Read(ctx context.Context, key store.Key, after uint64, max int) (store.State, []store.Event, error) {
	var state store.State
	events, err := withRecord(ctx, s, key, store.ErrNotFound, func(r *record, _ time.Time) ([]store.Event, error) {
		state = r.state
		return r.events(after, max)
	})
	if err != nil {
		return store.State{}, nil, err
	}
	return state, events, nil
}

func (r *record) events(after uint64, max int) ([]store.Event, error) {
	if max <= 0 {
		return nil, nil
	}
	page := store.NewEventPage(max)
	for p := after; p < r.state.LastSeq; {
		e, ok := r.event(p)
		if !ok {
			return nil, fmt.Errorf("no segment holds seq %d", p+1)
		}
		e.Data = bytes.Clone(e.Data)
		if !page.Add(e) {
			break
		}
		p = e.Seq
	}
	return page.Events, nil
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
	found := s.summaries(func(t *store.State) bool {
		return t.Tenant == q.Tenant &&
			(q.Subject == "" || t.Subject == q.Subject) && (q.Status == "" || t.Status == q.Status) &&
			(q.Action == "" || t.Action == q.Action) &&
			(q.From.IsZero() || !t.Accepted.Before(q.From)) && (q.To.IsZero() || t.Accepted.Before(q.To))
	})
	position := func(t *store.Summary) store.Position { return store.Position{Time: t.Accepted, ID: t.ID} }
	return page(found, position, newestFirst, q.Limit, cursor, q.Filter()...)
}

func comparePositions(a, b store.Position) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
}

func newestFirst(a, b store.Position) int { return comparePositions(b, a) }

// page returns a page of a list, whose rows are ordered by their positions, and
// the cursor of the next page.
func page[E any](
	rows []E, position func(*E) store.Position, order func(a, b store.Position) int, limit int, cursor string, filter ...string,
) ([]E, string, error) {
	if cursor != "" {
		at, err := store.ParseCursor(cursor, filter...)
		if err != nil {
			return nil, "", err
		}
		rows = slices.DeleteFunc(rows, func(e E) bool { return order(position(&e), at) <= 0 })
	}
	slices.SortFunc(rows, func(a, b E) int { return order(position(&a), position(&b)) })
	if limit = store.PageSize(limit, 50, 100); len(rows) <= limit {
		return rows, "", nil
	}
	return rows[:limit], store.Cursor(position(&rows[limit-1]), filter...), nil
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

// DeadLetters implements store.Operator.
func (s *Store) DeadLetters(ctx context.Context, limit int, cursor string) ([]store.Summary, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	found := s.summaries(func(t *store.State) bool { return t.DeadLetter })
	position := func(t *store.Summary) store.Position { return store.Position{Time: t.Ended, ID: globalID(t.Key)} }
	return page(found, position, newestFirst, limit, cursor, "dead letters")
}

// Input implements store.Operator.
func (s *Store) Input(ctx context.Context, key store.Key) (input, metadata []byte, err error) {
	input, err = withRecord(ctx, s, key, store.ErrNotFound, func(r *record, _ time.Time) ([]byte, error) {
		metadata = bytes.Clone(r.metadata)
		return bytes.Clone(r.input), nil
	})
	return input, metadata, err
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
	return out[:min(len(out), max)], nil
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
	s.mu.Lock()
	defer s.mu.Unlock()
	now, n := s.opt.Now(), 0
	for _, r := range s.requests {
		if n == max {
			break
		}
		if r.state.Expired(now, s.opt.Retention) {
			s.forget(r)
			n++
		}
	}
	maps.DeleteFunc(s.cancels, func(_ cancelKey, until time.Time) bool { return !now.Before(until) })
	maps.DeleteFunc(s.connections, func(_ store.Key, c store.Connection) bool { return expired(c.Expires, now) })
	return n, nil
}
