package embedded

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"zombiezen.com/go/sqlite"
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
	page, err := s.collectSummaries(ctx, limit, size, func(r *reader) ([]*entry, error) {
		found, err := r.listEntries(&q, at, size)
		if len(found) > 0 {
			last := &found[len(found)-1].state
			at = store.Position{Time: last.Accepted, ID: last.ID}
		}
		return found, err
	}, func(e *entry) bool {
		t := &e.state
		return (q.Status == "" || t.Status == q.Status) && (q.Action == "" || t.Action == q.Action)
	})
	if err != nil || len(page) <= limit {
		return page, "", err
	}
	last := &page[limit-1]
	return page[:limit], store.Cursor(store.Position{Time: last.Accepted, ID: last.ID}, q.Filter()...), nil
}

// ceilMillis returns the first whole millisecond that is not before t.
func ceilMillis(t time.Time) time.Time {
	ms := time.UnixMilli(t.UnixMilli())
	if ms.Before(t) {
		ms = ms.Add(time.Millisecond)
	}
	return ms
}

// collectSummaries collects the wanted requests, at most one more than limit.
// Fetch returns the next rows, fewer than size when there are no more.
func (s *Store) collectSummaries(
	ctx context.Context, limit, size int, fetch func(*reader) ([]*entry, error), wanted func(*entry) bool,
) ([]store.Summary, error) {
	var page []store.Summary
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
			if !e.state.Expired(now, s.opt.Retention) && wanted(e) {
				page = append(page, e.state.Summary())
				if len(page) > limit {
					return page, nil
				}
			}
		}
		if len(found) < size {
			return page, nil
		}
	}
}

func (r *reader) listEntries(q *store.Query, at store.Position, max int) ([]*entry, error) {
	query := listTenant
	if q.Subject != "" {
		query = listSubject
	}
	stmt, err := prepare(r.conn, query)
	if err != nil {
		return nil, err
	}
	b := bindTo(stmt).text(q.Tenant)
	if q.Subject != "" {
		b.text(q.Subject)
	}
	from := int64(math.MinInt64)
	if !q.From.IsZero() {
		from = ceilMillis(q.From).UnixMilli()
	}
	b.int(from).int(at.Time.UnixMilli()).text(at.ID).int(int64(max))
	return r.entries(stmt)
}

func (r *reader) entries(stmt *sqlite.Stmt) (out []*entry, err error) {
	err = eachRow(stmt, func(row *row) (bool, error) {
		out = append(out, row.entry(r.store.incarnation))
		return true, nil
	})
	return out, err
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
	var seqs []int64 // the n of each request on the page
	page, err := s.collectSummaries(ctx, limit, limit+1, func(r *reader) ([]*entry, error) {
		stmt, err := prepare(r.conn, listDeadLetters)
		if err != nil {
			return nil, err
		}
		bindTo(stmt).int(ended).int(n).int(int64(limit + 1))
		found, err := r.entries(stmt)
		if len(found) > 0 {
			last := found[len(found)-1]
			ended, n = last.state.Ended.UnixMilli(), last.n
		}
		return found, err
	}, func(e *entry) bool {
		seqs = append(seqs, e.n)
		return true
	})
	if err != nil || len(page) <= limit {
		return page, "", err
	}
	at := store.Position{Time: page[limit-1].Ended, ID: strconv.FormatInt(seqs[limit-1], 10)}
	return page[:limit], store.Cursor(at, deadLetterFilter), nil
}

// Input implements store.Operator.
func (s *Store) Input(ctx context.Context, key store.Key) (input, metadata []byte, err error) {
	err = s.withReader(ctx, func(r *reader) error {
		e, err := r.findRequest(key)
		if err == nil && e == nil {
			err = store.ErrNotFound
		}
		if err != nil {
			return err
		}
		stmt, err := prepare(r.conn, selectInput)
		if err != nil {
			return err
		}
		bindTo(stmt).int(e.n)
		_, err = firstRow(stmt, func(row *row) { input, metadata = row.bytes(), row.bytes() })
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
		stmt, err := prepare(r.conn, listDue)
		if err != nil {
			return err
		}
		bindTo(stmt).int(int64(shard)).int(until.UnixMilli()).int(s.incarnation).int(int64(max))
		return eachRow(stmt, func(row *row) (bool, error) {
			out = append(out, row.entry(s.incarnation).state.Hint())
			return true, nil
		})
	})
	return out, err
}
