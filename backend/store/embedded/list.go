package embedded

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// scanRows is how many rows a read transaction of a list reads.
const scanRows = 500

const (
	listTenant = `SELECT ` + requestColumns + ` FROM requests r INDEXED BY requests_by_tenant` + withState + `
		WHERE r.tenant = ? AND r.accepted >= ? AND (r.accepted, r.id) < (?, ?) ORDER BY r.accepted DESC, r.id DESC LIMIT ?`
	listSubject = `SELECT ` + requestColumns + ` FROM requests r INDEXED BY requests_by_subject` + withState + `
		WHERE r.tenant = ? AND r.subject = ? AND r.accepted >= ? AND (r.accepted, r.id) < (?, ?)
		ORDER BY r.accepted DESC, r.id DESC LIMIT ?`
	listDeadLetters = `SELECT ` + requestColumns + ` FROM states s INDEXED BY states_dead_letters CROSS JOIN requests r ON r.n = s.n
		WHERE s.dead_letter AND (s.ended, s.n) < (?, ?) ORDER BY s.ended DESC, s.n DESC LIMIT ?`
	// Running requests are in the index, but are due only if their lease has
	// ended or they must be cancelled.
	listDue = `SELECT ` + requestColumns + ` FROM states s INDEXED BY states_due CROSS JOIN requests r ON r.n = s.n
		WHERE s.shard = ? AND s.due <= ? AND 
			(s.status = 1 OR s.lease < ? OR s.unsubscribed_at IS NOT NULL AND NOT s.cancel_requested)
		ORDER BY s.due, s.n LIMIT ?`
)

// List implements store.RequestQueue. If few requests match the filter, it runs
// many short transactions.
func (s *Store) List(ctx context.Context, q store.Query, cursor string) ([]store.Summary, string, error) {
	at := store.Position{Time: time.UnixMilli(math.MaxInt64)}
	if cursor != "" {
		var err error
		if at, err = store.ParseCursor(cursor, q.Filter()...); err != nil {
			return nil, "", err
		}
	}
	if to := ceilMillis(q.To); !q.To.IsZero() && at.Time.After(to) {
		at = store.Position{Time: to} // no id is below the empty one
	}
	limit := store.PageSize(q.Limit, 50, 100)
	size := limit + 1
	if q.Status != "" || q.Action != "" {
		size = scanRows
	}
	position := func(e *entry) store.Position { return store.Position{Time: e.state.Accepted, ID: e.state.ID} }
	found, err := s.collectEntries(ctx, limit, size, func(r *reader) ([]*entry, error) {
		found, err := r.listEntries(&q, at, size)
		if len(found) > 0 {
			at = position(found[len(found)-1])
		}
		return found, err
	}, func(t *store.State) bool {
		return (q.Status == "" || t.Status == q.Status) && (q.Action == "" || t.Action == q.Action)
	})
	page, last := summaries(found, limit)
	if err != nil || last == nil {
		return page, "", err
	}
	return page, store.Cursor(position(last), q.Filter()...), nil
}

// ceilMillis returns the first whole millisecond that is not before t.
func ceilMillis(t time.Time) time.Time {
	ms := time.UnixMilli(t.UnixMilli())
	if ms.Before(t) {
		ms = ms.Add(time.Millisecond)
	}
	return ms
}

// collectEntries collects the wanted requests, at most one more than limit.
// Fetch returns the next rows, fewer than size when there are no more.
func (s *Store) collectEntries(
	ctx context.Context, limit, size int, fetch func(*reader) ([]*entry, error), wanted func(*store.State) bool,
) (out []*entry, err error) {
	for {
		var found []*entry
		err := s.withReader(ctx, func(r *reader) (err error) {
			found, err = fetch(r)
			return err
		})
		if err != nil {
			return nil, err
		}
		now := s.opt.Now()
		for _, e := range found {
			if !e.state.Expired(now, s.opt.Retention) && wanted(&e.state) {
				if out = append(out, e); len(out) > limit {
					return out, nil
				}
			}
		}
		if len(found) < size {
			return out, nil
		}
	}
}

// summaries returns the page of at most limit requests, and its last one if there
// are more.
func summaries(found []*entry, limit int) (page []store.Summary, last *entry) {
	if len(found) > limit {
		found = found[:limit]
		last = found[limit-1]
	}
	for _, e := range found {
		page = append(page, e.state.Summary())
	}
	return page, last
}

func (r *reader) listEntries(q *store.Query, at store.Position, max int) ([]*entry, error) {
	from := int64(math.MinInt64)
	if !q.From.IsZero() {
		from = ceilMillis(q.From).UnixMilli()
	}
	stmt := r.listTenant
	if q.Subject != "" {
		stmt = r.listSubject
	}
	b := bindTo(stmt).text(q.Tenant)
	if q.Subject != "" {
		b.text(q.Subject)
	}
	b.int(from).int(at.Time.UnixMilli()).text(at.ID).int(int64(max))
	return entries(stmt, r.store.incarnation)
}

const deadLetterFilter = "dead letters"

// DeadLetters implements store.Operator.
func (s *Store) DeadLetters(ctx context.Context, limit int, cursor string) ([]store.Summary, string, error) {
	ended, n := int64(math.MaxInt64), int64(math.MaxInt64)
	if cursor != "" {
		p, err := store.ParseCursor(cursor, deadLetterFilter)
		if err != nil {
			return nil, "", err
		}
		ended = p.Time.UnixMilli()
		if n, err = strconv.ParseInt(p.ID, 10, 64); err != nil {
			return nil, "", store.ErrCursor
		}
	}
	limit = store.PageSize(limit, 50, 100)
	found, err := s.collectEntries(ctx, limit, limit+1, func(r *reader) ([]*entry, error) {
		bindTo(r.listDeadLetters).int(ended).int(n).int(int64(limit + 1))
		found, err := entries(r.listDeadLetters, s.incarnation)
		if len(found) > 0 {
			last := found[len(found)-1]
			ended, n = last.state.Ended.UnixMilli(), last.n
		}
		return found, err
	}, func(*store.State) bool { return true })
	page, last := summaries(found, limit)
	if err != nil || last == nil {
		return page, "", err
	}
	return page, store.Cursor(store.Position{Time: last.state.Ended, ID: strconv.FormatInt(last.n, 10)}, deadLetterFilter), nil
}

// Input implements store.Operator.
func (s *Store) Input(ctx context.Context, key store.Key) (input, metadata []byte, err error) {
	err = s.withReader(ctx, func(r *reader) error {
		e, err := r.findRequest(key)
		if err != nil {
			return err
		}
		bindTo(r.selectInput).int(e.n)
		_, err = firstRow(r.selectInput, func(row *row) { input, metadata = row.bytes(), row.bytes() })
		return err
	})
	return input, metadata, err
}

// Due implements store.RequestQueue. A running request is due when the file is
// opened again, or when it must be cancelled because no connection follows it.
func (s *Store) Due(ctx context.Context, shard int, until time.Time, max int) (out []store.Hint, err error) {
	if shard < 0 || shard >= store.DefaultShards {
		return nil, fmt.Errorf("shard %d is not within 0 to %d", shard, store.DefaultShards-1)
	}
	err = s.withReader(ctx, func(r *reader) error {
		bindTo(r.listDue).int(int64(shard)).int(until.UnixMilli()).int(s.incarnation).int(int64(max))
		return eachRow(r.listDue, func(row *row) (bool, error) {
			out = append(out, row.entry(s.incarnation).state.Hint())
			return true, nil
		})
	})
	return out, err
}
