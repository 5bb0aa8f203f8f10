package embedded

import (
	"context"
	"strconv"
	"time"
)

// Bounds of one clean-up transaction.
const (
	expireRows  = 200
	vacuumPages = 64
	// vacuumFree is how many free pages are kept for reuse.
	vacuumFree = 1024
)

// Expire implements store.Retainer. It also deletes expired cancels, and returns
// free pages to the file system in small steps. Each transaction deletes at most
// 200 rows.
//
// There is no index of ended requests. Expire reads requests in the order of
// their acceptance, up to the first that is too young to have expired.
func (s *Store) Expire(ctx context.Context, max int) (int, error) {
	deleted, after := 0, int64(0)
	for more := true; more && deleted < max; {
		var found []int64
		err := s.withReader(ctx, func(r *reader) (err error) {
			found, after, more, err = r.expired(after, max-deleted)
			return err
		})
		if err != nil {
			return deleted, err
		}
		n, err := s.eraseAll(ctx, found)
		if deleted += n; err != nil {
			return deleted, err
		}
	}
	return deleted, s.write(ctx, &op{name: "expire", run: (*writer).cleanUp})
}

const listOldest = `SELECT r.n, r.accepted, s.ended FROM requests r LEFT JOIN states s ON s.n = r.n WHERE r.n > ? ORDER BY r.n LIMIT ?`

// expired returns requests after the given one whose retention is over, and the
// last one that it read. More reports that there may be more.
func (r *reader) expired(after int64, max int) (found []int64, last int64, more bool, err error) {
	before := r.store.opt.Now().Add(-r.store.opt.Retention).UnixMilli()
	bindTo(r.listOldest).int(after).int(scanRows)
	looked := 0
	last = after
	err = eachRow(r.listOldest, func(row *row) (bool, error) {
		n, accepted := row.int(), row.int()
		if accepted > before {
			return false, nil // all that follow are younger
		}
		looked++
		last = n
		if ended := row.time(); !ended.IsZero() && ended.UnixMilli() <= before {
			found = append(found, n)
		}
		return len(found) < max, nil
	})
	return found, last, looked == scanRows || len(found) == max, err
}

// eraseAll deletes requests, in transactions of bounded size.
func (s *Store) eraseAll(ctx context.Context, ns []int64) (deleted int, err error) {
	for len(ns) > 0 {
		var done int
		err := s.write(ctx, &op{name: "expire", run: func(w *writer) error {
			done = 0
			for budget := expireRows; done < len(ns); done++ {
				used, all, err := w.erase(ns[done], budget)
				if err != nil || !all {
					return err
				}
				budget -= used
			}
			return nil
		}})
		if err != nil {
			return deleted, err
		}
		deleted += done
		ns = ns[done:]
	}
	return deleted, nil
}

const (
	deleteSegments = `DELETE FROM segments WHERE n = ?1 AND last IN
		(SELECT last FROM segments WHERE n = ?1 ORDER BY last LIMIT ?2)`
	deleteCheckpoint = `DELETE FROM checkpoints WHERE n = ?1`
	deleteKey        = `DELETE FROM idempotency_keys WHERE (tenant, subject, action, key, id) IN
		(SELECT tenant, subject, action, idempotency_key, id FROM requests WHERE n = ?1)`
	deleteState   = `DELETE FROM states WHERE n = ?1`
	deleteRequest = `DELETE FROM requests WHERE n = ?1`

	// eraseRest is how many rows the last four delete at most.
	eraseRest = 4
)

// erase deletes an ended request, or as much of it as the budget of rows allows.
// The order makes an incomplete deletion harmless: the data of the request come
// first; the request itself comes last, in one transaction with its state.
func (w *writer) erase(n int64, budget int) (used int, done bool, err error) {
	if budget < eraseRest {
		return 0, false, nil
	}
	for _, query := range []string{deleteSegments, deleteCheckpoint, deleteKey, deleteState, deleteRequest} {
		args := []int64{n}
		if query == deleteSegments {
			args = append(args, int64(budget-eraseRest+1))
		}
		if err := w.exec(query, args...); err != nil {
			return used, false, err
		}
		used += w.conn.Changes()
		if query == deleteSegments && used > budget-eraseRest {
			return used, false, nil // there may be more
		}
	}
	return used, true, nil
}

// cleanUp deletes expired cancels, and shrinks the file a little if much of it is
// free.
func (w *writer) cleanUp() error {
	if err := w.expireCancels(w.store.opt.Now()); err != nil {
		return err
	}
	free, err := queryInt(w.conn, "PRAGMA freelist_count")
	if err != nil || free <= vacuumFree {
		return asFailure(err)
	}
	w.wrote = true
	w.frames += 2 * vacuumPages
	return asFailure(execute(w.conn, "PRAGMA incremental_vacuum("+strconv.Itoa(vacuumPages)+")"))
}

func (w *writer) expireCancels(now time.Time) error {
	if any, err := w.anyCancels(); err != nil || !any {
		return err
	}
	w.cancels = nil
	return w.exec(`DELETE FROM cancels WHERE (tenant, subject, id) IN
		(SELECT tenant, subject, id FROM cancels WHERE until <= ? ORDER BY until LIMIT ?)`, now.UnixMilli(), expireRows)
}

// probe writes and deletes as much data as a small request has, so that it fails
// while the disk is full.
func (w *writer) probe() error {
	if err := w.exec(`INSERT INTO checkpoints (n, data) VALUES (0, zeroblob(65536))`); err != nil {
		return err
	}
	return w.exec(`DELETE FROM checkpoints WHERE n = 0`)
}
