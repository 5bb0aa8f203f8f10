package embedded

import (
	"errors"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"zombiezen.com/go/sqlite"
)

// errStep reports that the writer's cache and the file differ. The transaction
// is rolled back, the cache cleared, and the operation run again.
var errStep = errors.New("a request in the cache is not the one in the file")

// statements are the statements of the writer.
type statements struct {
	begin, end, rollback *sqlite.Stmt

	selectRequest, insertRequest                        *sqlite.Stmt
	insertPlain, insertFull, updateState, updateRunning *sqlite.Stmt

	selectInput, selectCheckpoint, putCheckpoint, selectEnd *sqlite.Stmt

	selectSegment, insertSegment           *sqlite.Stmt
	selectKey, replaceKey, setWrittenBelow *sqlite.Stmt
	selectUnwritten, countUnwritten        *sqlite.Stmt
	anyCancel, selectCancel                *sqlite.Stmt
	replaceCancel, removeCancel            *sqlite.Stmt
}

const (
	selectEnd   = `SELECT payload, message, retryable FROM states WHERE n = ? AND ended IS NOT NULL`
	selectInput = `SELECT input, metadata FROM requests WHERE n = ?`
)

func (w *writer) prepare() error {
	return prepareAll(w.conn, map[string]**sqlite.Stmt{
		"BEGIN IMMEDIATE": &w.begin,
		"COMMIT":          &w.end,
		"ROLLBACK":        &w.rollback,

		selectRequest: &w.selectRequest,
		insertRequest: &w.insertRequest,
		insertPlain:   &w.insertPlain,
		insertFull:    &w.insertFull,
		updateState:   &w.updateState,
		updateRunning: &w.updateRunning,

		selectInput: &w.selectInput,
		`SELECT data FROM checkpoints WHERE n = ?`: &w.selectCheckpoint,
		`INSERT INTO checkpoints (n, data) VALUES (?, ?)
			ON CONFLICT DO UPDATE SET data = excluded.data`: &w.putCheckpoint,
		selectEnd: &w.selectEnd,

		`SELECT first, fence FROM segments WHERE n = ? AND last = ?`:                                        &w.selectSegment,
		`INSERT INTO segments (n, last, first, fence, mark, events) VALUES (?, ?, ?, ?, ?, ?)`:              &w.insertSegment,
		`SELECT id FROM idempotency_keys WHERE tenant = ? AND subject = ? AND action = ? AND key = ?`:       &w.selectKey,
		`INSERT OR REPLACE INTO idempotency_keys (tenant, subject, action, key, id) VALUES (?, ?, ?, ?, ?)`: &w.replaceKey,

		`UPDATE meta SET value = ? WHERE name = 'written_below'`: &w.setWrittenBelow,
		selectUnwritten: &w.selectUnwritten,
		countUnwritten:  &w.countUnwritten,

		`SELECT EXISTS (SELECT 1 FROM cancels)`:                                                  &w.anyCancel,
		`SELECT count(*) FROM cancels WHERE tenant = ? AND subject = ? AND id = ? AND until > ?`: &w.selectCancel,
		`INSERT OR REPLACE INTO cancels (tenant, subject, id, until) VALUES (?, ?, ?, ?)`:        &w.replaceCancel,
		`DELETE FROM cancels WHERE tenant = ? AND subject = ? AND id = ?`:                        &w.removeCancel,
	})
}

// lookUp reads a request from the file; nil if there is none.
func (w *writer) lookUp(k store.Key) (e *entry, err error) {
	bindTo(w.selectRequest).text(k.Tenant).text(k.ID)
	_, err = firstRow(w.selectRequest, func(r *row) { e = r.entry(w.store.incarnation) })
	return e, err
}

// insert adds a request, unless there is one with its id.
func (w *writer) insert(e *entry, n *store.Request) (fresh bool, err error) {
	e.n = w.next
	bindTo(w.insertRequest).request(e, n)
	if err := runStatement(w.insertRequest); err != nil {
		return false, err
	}
	if w.conn.Changes() == 0 {
		return false, nil
	}
	w.next++
	w.wrote = true
	w.frames += framesPerStatement
	return true, nil
}

// replace deletes an expired request and inserts one with the same id.
func (w *writer) replace(e *entry, n *store.Request) error {
	old, err := w.lookUp(n.Key)
	if err != nil {
		return err
	}
	for done := old == nil; !done; {
		if _, done, err = w.erase(old.n, expireRows); err != nil {
			return err
		}
	}
	fresh, err := w.insert(e, n)
	if err == nil && !fresh {
		err = asFailure(errStep)
	}
	return err
}

// change is a step of a request from one state to the next.
type change struct {
	from  *entry
	to    store.State
	lease int64
	// input is nil if it is not cached any more.
	input *input
	// end is not nil if the step ends the request.
	end *store.End
}

// plain reports whether the step changes no column that watched binds, and the
// request cannot be in the index because of a cancel.
func (c *change) plain() bool {
	return c.to.CancelAfter == nil && c.to.Watch == c.from.state.Watch && c.to.Connection == c.from.state.Connection
}

// change writes the new state of a request.
func (w *writer) change(c change) error {
	changed := &entry{n: c.from.n, state: c.to, lease: c.lease, idempotencyKey: c.from.idempotencyKey, input: c.input}
	stmt := w.updateRunning
	switch {
	case c.from.unwritten:
		stmt = w.insertPlain
		if c.to.AttemptMark != nil || c.to.Progress != nil || !c.plain() {
			stmt = w.insertFull
		}
		b := bindTo(stmt).int(changed.n).int(int64(store.ShardOf(c.to.Key, store.DefaultShards))).int(statusCode(c.to.Status)).
			time(indexTime(&c.to)).time(c.to.Ended).bool(c.to.DeadLetter).counts(&c.to, c.lease).endColumns(c.end)
		if stmt == w.insertFull {
			b.watched(&c.to).extras(&c.to)
		}
	case c.to.Status == store.Running && c.plain():
		bindTo(stmt).running(&c.to, c.lease).where(c.from)
	default:
		stmt = w.updateState
		bindTo(stmt).time(indexTime(&c.to)).time(c.to.Ended).bool(c.to.DeadLetter).endColumns(c.end).watched(&c.to).running(&c.to, c.lease).where(c.from)
	}
	if err := w.execWrite(stmt); err != nil {
		return err
	}
	if w.conn.Changes() != 1 {
		return asFailure(errStep)
	}
	if c.from.unwritten {
		w.unwrittenRows.written(c.from.n)
	}
	w.cache.putEntry(changed)
	return nil
}

// running binds runningColumns.
func (b *binding) running(s *store.State, lease int64) *binding {
	return b.int(statusCode(s.Status)).counts(s, lease).extras(s)
}

func (b *binding) where(before *entry) {
	b.int(before.n).int(int64(before.state.Fence)).int(int64(before.state.LastSeq))
}

// readEnd reads the end that belongs to a state; nil if there is none.
func readEnd(stmt *sqlite.Stmt, n int64, s *store.State) (*store.End, error) {
	end := &store.End{Status: s.Status, Code: s.Code, DeadLetter: s.DeadLetter}
	bindTo(stmt).int(n)
	found, err := firstRow(stmt, func(r *row) { end.Payload, end.Message, end.Retryable = r.bytes(), r.text(), r.bool() })
	if err != nil || !found {
		return nil, err
	}
	return end, nil
}

// bodies reads the input and the checkpoint of a claimed request.
func (w *writer) bodies(n int64, work *store.ClaimedRequest) error {
	bindTo(w.selectInput).int(n)
	if _, err := firstRow(w.selectInput, func(r *row) { work.Input, work.Metadata = r.bytes(), r.bytes() }); err != nil {
		return err
	}
	bindTo(w.selectCheckpoint).int(n)
	_, err := firstRow(w.selectCheckpoint, func(r *row) { work.Checkpoint = r.bytes() })
	return err
}

// putReport writes the segment and the checkpoint of a report.
func (w *writer) putReport(n int64, fence uint64, r *store.Report) error {
	if g := r.Segment; g != nil {
		b := bindTo(w.insertSegment).int(n).int(int64(g.Last)).int(int64(g.First)).int(int64(fence))
		if first := &g.Events[0]; first.Kind == store.Attempt {
			b.int(int64(first.Seq))
		} else {
			b.null()
		}
		b.bytes(store.AppendEvents(nil, g.Events))
		if err := w.execWrite(w.insertSegment); err != nil {
			return err
		}
	}
	if r.Checkpoint != nil {
		bindTo(w.putCheckpoint).int(n).bytes(r.Checkpoint)
		return w.execWrite(w.putCheckpoint)
	}
	return nil
}

// repeated returns nil if the store holds the segment that a report repeats.
func (w *writer) repeated(e *entry, fence uint64, g *store.Segment) error {
	has := false
	bindTo(w.selectSegment).int(e.n).int(int64(g.Last))
	_, err := firstRow(w.selectSegment, func(r *row) { has = uint64(r.int()) == g.First && uint64(r.int()) == fence })
	if err == nil && !has {
		err = e.state.OverlapError(g)
	}
	return err
}

// idOfKey returns the id of the request with an idempotency key; empty if there
// is none.
func (w *writer) idOfKey(n *store.Request) (id string, err error) {
	bindTo(w.selectKey).text(n.Tenant).text(n.Subject).text(n.Action).text(n.IdempotencyKey)
	_, err = firstRow(w.selectKey, func(r *row) { id = r.text() })
	return id, err
}

func (w *writer) putKey(n *store.Request) error {
	bindTo(w.replaceKey).text(n.Tenant).text(n.Subject).text(n.Action).text(n.IdempotencyKey).text(n.ID)
	return w.execWrite(w.replaceKey)
}

// cancelled reports whether a cancel of the request is retained.
func (w *writer) cancelled(n *store.Request, now time.Time) (yes bool, err error) {
	if any, err := w.anyCancels(); err != nil || !any {
		return false, err
	}
	bindTo(w.selectCancel).text(n.Tenant).text(n.Subject).text(n.ID).int(now.UnixMilli())
	_, err = firstRow(w.selectCancel, func(r *row) { yes = r.int() > 0 })
	return yes, err
}

// anyCancels reports whether any cancel is retained. Usually none is, and
// Accept needs no lookup.
func (w *writer) anyCancels() (any bool, err error) {
	if w.cancels == nil {
		if _, err := firstRow(w.anyCancel, func(r *row) { any = r.bool() }); err != nil {
			return false, err
		}
		w.cancels = &any
	}
	return *w.cancels, nil
}

func (w *writer) putCancel(k store.Key, subject string, now time.Time) error {
	w.cancels = nil
	bindTo(w.replaceCancel).text(k.Tenant).text(subject).text(k.ID).time(now.Add(store.CancelRetention))
	return w.execWrite(w.replaceCancel)
}

func (w *writer) deleteCancel(n *store.Request) error {
	bindTo(w.removeCancel).text(n.Tenant).text(n.Subject).text(n.ID)
	return w.execWrite(w.removeCancel)
}
