package embedded

import (
	"context"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// Bounds of clean-up in one transaction.
const (
	expireRows  = 200
	vacuumPages = 64
	// vacuumFree is how many free pages are left alone: they are used again.
	vacuumFree = 1024
)

// Expire plays store.Retainer. It forgets cancels whose time is over, and
// gives free pages back to the file system in small steps, too. Each
// transaction deletes at most 200 rows.
func (s *Store) Expire(ctx context.Context, max int) (int, error) {
	deleted := 0
	for deleted < max {
		var n int
		var more bool
		err := s.write(ctx, &op{name: "expire", run: func(w *writer) (err error) {
			n, more, err = w.expire(min(max-deleted, expireRows))
			return err
		}})
		if err != nil {
			return deleted, err
		}
		deleted += n
		if !more {
			break
		}
	}
	return deleted, s.write(ctx, &op{name: "expire", run: (*writer).tidy})
}

// expire deletes requests that have expired, as many as a transaction may, and
// tells whether there may be more.
func (w *writer) expire(max int) (deleted int, more bool, err error) {
	before := w.store.opt.Now().Add(-w.store.opt.Retention).UnixMilli()
	stmt, err := prepare(w.conn, `SELECT tenant, id FROM requests WHERE ended <= ? ORDER BY ended LIMIT ?`)
	if err != nil {
		return 0, false, err
	}
	var keys []store.Key
	bind(stmt).int(before).int(int64(max))
	err = rows(stmt, func(r *row) (bool, error) {
		keys = append(keys, store.Key{Tenant: r.text(), ID: r.text()})
		return true, nil
	})
	if err != nil {
		return 0, false, err
	}
	budget := expireRows
	for _, k := range keys {
		used, done, err := w.erase(k, budget)
		if err != nil {
			return 0, false, err
		}
		if !done {
			return deleted, true, nil
		}
		deleted++
		budget -= used
	}
	return deleted, len(keys) == max, nil
}

const (
	deleteSegments = `DELETE FROM segments WHERE tenant = ?1 AND id = ?2 AND last IN
		(SELECT last FROM segments WHERE tenant = ?1 AND id = ?2 ORDER BY last LIMIT ?3)`
	deleteBodies = `DELETE FROM bodies WHERE tenant = ?1 AND id = ?2`
	deleteKey    = `DELETE FROM idempotency_keys WHERE id = ?2 AND (tenant, subject, action, key) IN
		(SELECT tenant, subject, action, idempotency_key FROM requests WHERE tenant = ?1 AND id = ?2)`
	deleteRequest = `DELETE FROM requests WHERE tenant = ?1 AND id = ?2`

	// eraseRest is how many rows the last three delete at most: three bodies,
	// a key, a request.
	eraseRest = 5
)

// erase deletes a request, or as much of it as the budget of rows allows. It
// does so in the order in which half a deletion does no harm: what belongs to
// the request first, the request itself last.
func (w *writer) erase(k store.Key, budget int) (used int, done bool, err error) {
	if budget < eraseRest {
		return 0, false, nil
	}
	for _, query := range []string{deleteSegments, deleteBodies, deleteKey, deleteRequest} {
		stmt, err := prepare(w.conn, query)
		if err != nil {
			return used, false, err
		}
		b := bind(stmt).text(k.Tenant).text(k.ID)
		if query == deleteSegments {
			b.int(int64(budget - eraseRest + 1))
		}
		if err := w.exec(stmt); err != nil {
			return used, false, err
		}
		used += w.conn.Changes()
		if query == deleteSegments && used > budget-eraseRest {
			return used, false, nil // there may be more
		}
	}
	return used, true, nil
}

// tidy forgets old cancels and shrinks the file by a little if much of it is
// free.
func (w *writer) tidy() error {
	if err := w.expireCancels(w.store.opt.Now()); err != nil {
		return err
	}
	free, err := pragma(w.conn, "PRAGMA freelist_count")
	if err != nil {
		return fail(err)
	}
	if n, _ := strconv.Atoi(free); n <= vacuumFree {
		return nil
	}
	w.wrote = true
	w.frames += 2 * vacuumPages
	return fail(execute(w.conn, "PRAGMA incremental_vacuum("+strconv.Itoa(vacuumPages)+")"))
}

func (w *writer) expireCancels(now time.Time) error {
	if any, err := w.anyCancels(); err != nil || !any {
		return err
	}
	stmt, err := prepare(w.conn, `DELETE FROM cancels WHERE (tenant, subject, id) IN
		(SELECT tenant, subject, id FROM cancels WHERE until <= ? ORDER BY until LIMIT `+strconv.Itoa(expireRows)+`)`)
	if err != nil {
		return err
	}
	bind(stmt).time(now)
	w.cancels = nil
	return w.exec(stmt)
}

// probe writes and deletes as much as a small request needs, so that it fails
// while the disk is full.
func (w *writer) probe() error {
	for _, query := range []string{
		`INSERT INTO bodies (tenant, id, kind, data) VALUES ('', '', 0, zeroblob(65536))`,
		`DELETE FROM bodies WHERE tenant = '' AND id = '' AND kind = 0`,
	} {
		stmt, err := prepare(w.conn, query)
		if err != nil {
			return err
		}
		if err := w.exec(stmt); err != nil {
			return err
		}
	}
	return nil
}
