package embedded

import (
	"errors"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"zombiezen.com/go/sqlite"
)

// Kinds of bodies.
const (
	kindInput = iota + 1
	kindCheckpoint
	kindEnd
)

// errStep says that the writer's cache and the file disagree. The transaction
// is rolled back, the cache emptied, and the operation run again.
var errStep = errors.New("a request in the cache is not the one in the file")

// statements are the writer's.
type statements struct {
	begin, end, rollback *sqlite.Stmt

	selectRequest, insertRequest, updateRequest, runningRequest *sqlite.Stmt

	selectBodies, selectEnd, insertBody, putCheckpoint *sqlite.Stmt

	selectSegment, insertSegment *sqlite.Stmt
	selectKey, replaceKey        *sqlite.Stmt

	anyCancel, selectCancel, replaceCancel, removeCancel *sqlite.Stmt
}

const selectEnd = `SELECT data, message, retryable FROM bodies WHERE tenant = ? AND id = ? AND kind = 3`

func (w *writer) prepare() error {
	for query, stmt := range map[string]**sqlite.Stmt{
		"BEGIN IMMEDIATE": &w.begin,
		"COMMIT":          &w.end,
		"ROLLBACK":        &w.rollback,

		selectRequest: &w.selectRequest,
		insertRequest: &w.insertRequest,
		updateRequest: &w.updateRequest,
		updateRunning: &w.runningRequest,

		`SELECT kind, data, metadata FROM bodies WHERE tenant = ? AND id = ? AND kind IN (1, 2)`: &w.selectBodies,
		selectEnd: &w.selectEnd,
		`INSERT INTO bodies (tenant, id, kind, data, metadata, message, retryable) VALUES (?, ?, ?, ?, ?, ?, ?)`: &w.insertBody,
		`INSERT INTO bodies (tenant, id, kind, data) VALUES (?, ?, 2, ?)
			ON CONFLICT DO UPDATE SET data = excluded.data`: &w.putCheckpoint,

		`SELECT first, fence FROM segments WHERE tenant = ? AND id = ? AND last = ?`:                        &w.selectSegment,
		`INSERT INTO segments (tenant, id, last, first, fence, mark, events) VALUES (?, ?, ?, ?, ?, ?, ?)`:  &w.insertSegment,
		`SELECT id FROM idempotency_keys WHERE tenant = ? AND subject = ? AND action = ? AND key = ?`:       &w.selectKey,
		`INSERT OR REPLACE INTO idempotency_keys (tenant, subject, action, key, id) VALUES (?, ?, ?, ?, ?)`: &w.replaceKey,
		`SELECT EXISTS (SELECT 1 FROM cancels)`:                                                             &w.anyCancel,
		`SELECT count(*) FROM cancels WHERE tenant = ? AND subject = ? AND id = ? AND until > ?`:            &w.selectCancel,
		`INSERT OR REPLACE INTO cancels (tenant, subject, id, until) VALUES (?, ?, ?, ?)`:                   &w.replaceCancel,
		`DELETE FROM cancels WHERE tenant = ? AND subject = ? AND id = ?`:                                   &w.removeCancel,
	} {
		var err error
		if *stmt, err = prepare(w.conn, query); err != nil {
			return err
		}
	}
	return nil
}

// lookUp reads a request from the file; nil if there is none.
func (w *writer) lookUp(k store.Key) (e *entry, err error) {
	bind(w.selectRequest).text(k.Tenant).text(k.ID)
	_, err = one(w.selectRequest, func(r *row) { e = r.entry() })
	return e, err
}

// insert adds a request, unless one with its id is there.
func (w *writer) insert(e *entry) (fresh bool, err error) {
	bind(w.insertRequest).int(int64(store.ShardOf(e.state.Key))).identity(e).standing(&e.state).life(e)
	if err := run(w.insertRequest); err != nil {
		return false, err
	}
	if w.conn.Changes() == 0 {
		return false, nil
	}
	w.wrote = true
	w.frames += framesPerStatement
	return true, nil
}

// replace puts a request in the place of one that has expired.
func (w *writer) replace(e *entry) error {
	for {
		_, done, err := w.erase(e.state.Key, expireRows)
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	fresh, err := w.insert(e)
	if err == nil && !fresh {
		err = fail(errStep)
	}
	return err
}

// update writes a request's new state, and keeps it with the input that may be
// known.
func (w *writer) update(e *entry, next store.State, lease int64, in *input) error {
	changed := &entry{state: next, lease: lease, idempotencyKey: e.idempotencyKey, input: in}
	bind(w.updateRequest).standing(&next).life(changed).where(&e.state)
	return w.change(w.updateRequest, changed)
}

// updateRunning writes the new state of a request that runs on.
func (w *writer) updateRunning(e *entry, next store.State, keepInput bool) error {
	changed := &entry{state: next, lease: e.lease, idempotencyKey: e.idempotencyKey}
	if keepInput {
		changed.input = e.input
	}
	bind(w.runningRequest).life(changed).where(&e.state)
	return w.change(w.runningRequest, changed)
}

func (b *binding) where(before *store.State) {
	b.text(before.Tenant).text(before.ID).int(int64(before.Fence)).int(int64(before.LastSeq))
}

func (w *writer) change(stmt *sqlite.Stmt, e *entry) error {
	if err := w.exec(stmt); err != nil {
		return err
	}
	if w.conn.Changes() != 1 {
		return fail(errStep)
	}
	w.cache.put(e)
	return nil
}

func (w *writer) putInput(n *store.New) error {
	bind(w.insertBody).text(n.Tenant).text(n.ID).int(kindInput).bytes(n.Input).bytes(n.Metadata).null().null()
	return w.exec(w.insertBody)
}

func (w *writer) putEnd(k store.Key, e *store.End) error {
	bind(w.insertBody).text(k.Tenant).text(k.ID).int(kindEnd).bytes(e.Payload).null().optional(e.Message).bool(e.Retryable)
	return w.exec(w.insertBody)
}

// readEnd reads the end that belongs to a state; nil if there is none.
func readEnd(stmt *sqlite.Stmt, s *store.State) (*store.End, error) {
	end := &store.End{Status: s.Status, Code: s.Code, Dead: s.Dead}
	bind(stmt).text(s.Tenant).text(s.ID)
	found, err := one(stmt, func(r *row) { end.Payload, end.Message, end.Retryable = r.bytes(), r.text(), r.bool() })
	if err != nil || !found {
		return nil, err
	}
	return end, nil
}

// bodies reads what a claimed request needs to run.
func (w *writer) bodies(work *store.Work) error {
	bind(w.selectBodies).text(work.State.Tenant).text(work.State.ID)
	return rows(w.selectBodies, func(r *row) (bool, error) {
		if r.int() == kindCheckpoint {
			work.Checkpoint = r.bytes()
		} else {
			work.Input, work.Metadata = r.bytes(), r.bytes()
		}
		return true, nil
	})
}

// putReport writes the bodies of a report.
func (w *writer) putReport(f store.Fence, r *store.Report) error {
	if g := r.Segment; g != nil {
		b := bind(w.insertSegment).text(f.Tenant).text(f.ID).int(int64(g.Last)).int(int64(g.First)).int(int64(f.Fence))
		if first := &g.Events[0]; first.Kind == store.Attempt {
			b.int(int64(first.Seq))
		} else {
			b.null()
		}
		b.bytes(store.AppendEvents(nil, g.Events))
		if err := w.exec(w.insertSegment); err != nil {
			return err
		}
	}
	if r.Checkpoint != nil {
		bind(w.putCheckpoint).text(f.Tenant).text(f.ID).bytes(r.Checkpoint)
		return w.exec(w.putCheckpoint)
	}
	return nil
}

func (w *writer) hasSegment(k store.Key, fence uint64, g *store.Segment) (has bool, err error) {
	bind(w.selectSegment).text(k.Tenant).text(k.ID).int(int64(g.Last))
	_, err = one(w.selectSegment, func(r *row) {
		has = uint64(r.int()) == g.First && uint64(r.int()) == fence
	})
	return has, err
}

// idOfKey returns the id that an idempotency key stands for; empty if it is
// free.
func (w *writer) idOfKey(n *store.New) (id string, err error) {
	bind(w.selectKey).text(n.Tenant).text(n.Subject).text(n.Action).text(n.IdempotencyKey)
	_, err = one(w.selectKey, func(r *row) { id = r.text() })
	return id, err
}

func (w *writer) putKey(n *store.New) error {
	bind(w.replaceKey).text(n.Tenant).text(n.Subject).text(n.Action).text(n.IdempotencyKey).text(n.ID)
	return w.exec(w.replaceKey)
}

// cancelled tells whether a cancel of the request is remembered.
func (w *writer) cancelled(n *store.New, now time.Time) (yes bool, err error) {
	if any, err := w.anyCancels(); err != nil || !any {
		return false, err
	}
	bind(w.selectCancel).text(n.Tenant).text(n.Subject).text(n.ID).int(now.UnixMilli())
	_, err = one(w.selectCancel, func(r *row) { yes = r.int() > 0 })
	return yes, err
}

// anyCancels tells whether any cancel is remembered. Mostly none is, and then
// accepting need not look.
func (w *writer) anyCancels() (any bool, err error) {
	if w.cancels == nil {
		if _, err := one(w.anyCancel, func(r *row) { any = r.bool() }); err != nil {
			return false, err
		}
		w.cancels = &any
	}
	return *w.cancels, nil
}

func (w *writer) putCancel(k store.Key, subject string, now time.Time) error {
	w.cancels = nil
	bind(w.replaceCancel).text(k.Tenant).text(subject).text(k.ID).time(now.Add(store.CancelMemory))
	return w.exec(w.replaceCancel)
}

func (w *writer) deleteCancel(n *store.New) error {
	bind(w.removeCancel).text(n.Tenant).text(n.Subject).text(n.ID)
	return w.exec(w.removeCancel)
}
