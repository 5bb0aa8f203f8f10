package embedded

import (
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"zombiezen.com/go/sqlite"
)

// entry is a request as stored in its rows of requests and states.
type entry struct {
	n     int64
	state store.State
	// unwritten reports that states has no row yet.
	unwritten bool
	// lease is the incarnation of the store that granted the claim.
	lease          int64
	idempotencyKey string
	// input is kept in the writer's cache if it is small and the request can
	// run with nothing else; nil: unknown.
	input *input
}

type input struct{ payload, metadata []byte }

const (
	requestColumns = `r.n, r.tenant, r.id, r.subject, r.action, r.hash, r.accepted, r.deadline, r.retry_of, r.cancel_after, r.connection,
	r.idempotency_key, s.status, s.due, s.ended, s.dead_letter, s.fence, s.lease, s.attempt, s.failures, s.crash_count, s.last_seq, s.keep, s.code,
	s.cancel_requested, s.run_at, s.unsubscribed_at, s.watch, s.connection_left, s.mark_seq, s.mark_keep, s.mark_from, s.mark_code,
	s.progress_attempt, s.progress_rev, s.progress_percent, s.progress_message`

	withState = ` LEFT JOIN states s ON s.n = r.n `

	selectRequest = `SELECT ` + requestColumns + ` FROM requests r` + withState + `WHERE r.tenant = ? AND r.id = ?`

	insertRequest = `INSERT INTO requests (n, tenant, id, subject, action, hash, accepted, deadline, retry_of, cancel_after, connection,
		idempotency_key, input, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

	// States are written by four statements: an insert or an update, with the
	// columns that are rarely used, or without.
	plainColumns = `n, shard, status, due, ended, dead_letter, fence, lease, attempt, failures, crash_count, last_seq, keep, code, cancel_requested,
		message, retryable, payload`
	fullColumns = plainColumns + `, run_at, unsubscribed_at, watch, connection_left, mark_seq, mark_keep, mark_from, mark_code,
		progress_attempt, progress_rev, progress_percent, progress_message`

	insertPlain = `INSERT INTO states (` + plainColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	insertFull = `INSERT INTO states (` + fullColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

	// updateState sets all columns that can change, updateRunning those that
	// change while a request is running: it changes no index.
	updateState = `UPDATE states SET due = ?, ended = ?, dead_letter = ?, message = ?, retryable = ?, payload = ?,
		run_at = ?, unsubscribed_at = ?, watch = ?, connection_left = ?, ` + runningColumns + updateWhere
	updateRunning  = `UPDATE states SET ` + runningColumns + updateWhere
	runningColumns = `status = ?, fence = ?, lease = ?, attempt = ?, failures = ?, crash_count = ?, last_seq = ?, keep = ?, code = ?,
		cancel_requested = ?, mark_seq = ?, mark_keep = ?, mark_from = ?, mark_code = ?,
		progress_attempt = ?, progress_rev = ?, progress_percent = ?, progress_message = ?`
	updateWhere = ` WHERE n = ? AND fence = ? AND last_seq = ? AND ended IS NULL`
)

var statuses = [...]store.Status{1: store.Queued, 2: store.Running, 3: store.Succeeded, 4: store.Failed, 5: store.Cancelled}

func statusCode(s store.Status) int64 { return int64(slices.Index(statuses[:], s)) }

func status(code int64) store.Status {
	if code < 1 || int(code) >= len(statuses) {
		return ""
	}
	return statuses[code]
}

// request binds the columns of requests.
func (b *binding) request(e *entry, n *store.Request) *binding {
	s := &e.state
	b.int(e.n).text(s.Tenant).text(s.ID).text(s.Subject).text(s.Action).bytes(s.Hash[:]).time(s.Accepted).time(s.Deadline).optional(s.RetryOf)
	if s.CancelAfter == nil {
		b.null()
	} else {
		b.int(int64(*s.CancelAfter))
	}
	return b.optional(s.Connection).optional(e.idempotencyKey).bytes(n.Input).bytes(n.Metadata)
}

// indexTime returns when the engine must look at a request, as the index has
// it. All running requests are in the index, so that they are found when the
// file is opened again.
func indexTime(s *store.State) time.Time {
	at := s.CheckAt()
	if at.IsZero() && s.Status == store.Running {
		return s.Accepted
	}
	return at
}

// watched binds run_at, unsubscribed_at, watch and connection_left.
func (b *binding) watched(s *store.State) *binding {
	if s.Due.IsZero() || s.Due.Equal(indexTime(s)) {
		b.null()
	} else {
		b.time(s.Due)
	}
	b.time(s.UnsubscribedAt)
	if s.Watch == 0 {
		b.null()
	} else {
		b.int(int64(s.Watch))
	}
	if s.Connection == "" {
		return b.bool(true)
	}
	return b.null()
}

// counts binds the columns that every request changes.
func (b *binding) counts(s *store.State, lease int64) *binding {
	return b.int(int64(s.Fence)).int(lease).int(int64(s.Attempt)).int(int64(s.Failures)).int(int64(s.CrashCount)).
		int(int64(s.LastSeq)).int(int64(s.Keep)).optional(s.Code).bool(s.CancelRequested)
}

// endColumns binds the columns of an end, which may be nil.
func (b *binding) endColumns(e *store.End) *binding {
	if e == nil {
		return b.null().null().null()
	}
	return b.optional(e.Message).bool(e.Retryable).bytes(e.Payload)
}

// extras binds the attempt mark and the progress.
func (b *binding) extras(s *store.State) *binding {
	if m := s.AttemptMark; m != nil {
		b.int(int64(m.Seq)).int(int64(m.Keep)).int(int64(m.From)).optional(m.Code)
	} else {
		b.null().null().null().null()
	}
	if p := s.Progress; p != nil {
		b.int(int64(p.Attempt)).int(int64(p.Rev)).float(p.Percent).optional(p.Message)
	} else {
		b.null().null().null().null()
	}
	return b
}

// entry reads the columns of requestColumns. Leases of the incarnation owner
// are valid.
func (r *row) entry(owner int64) *entry {
	e := &entry{n: r.int()}
	s := &e.state
	s.Tenant, s.ID, s.Subject, s.Action = r.text(), r.text(), r.text(), r.text()
	r.fixed(s.Hash[:])
	s.Accepted, s.Deadline, s.RetryOf = r.time(), r.time(), r.text()
	if !r.skipNull(1) {
		s.CancelAfter = new(time.Duration(r.int()))
	}
	s.Connection, e.idempotencyKey = r.text(), r.text()
	if r.isNull() {
		e.unwritten, e.lease = true, owner
		s.Status, s.Fence, s.Attempt, s.LastSeq, s.Keep = store.Running, 1, 1, 1, 1
		return e
	}
	s.Status = status(r.int())
	s.Due, s.Ended, s.DeadLetter = r.time(), r.time(), r.bool()
	s.Fence, e.lease, s.Attempt = uint64(r.int()), r.int(), int(r.int())
	s.Failures, s.CrashCount = int(r.int()), int(r.int())
	s.LastSeq, s.Keep, s.Code, s.CancelRequested = uint64(r.int()), uint64(r.int()), r.text(), r.bool()
	if runAt := r.time(); !runAt.IsZero() {
		s.Due = runAt
	}
	if s.Status == store.Running && e.lease == owner {
		s.Due = time.Time{}
	}
	s.UnsubscribedAt, s.Watch = r.time(), uint64(r.int())
	if r.bool() {
		s.Connection = ""
	}
	if !r.skipNull(4) {
		s.AttemptMark = &store.AttemptMark{
			Seq: uint64(r.int()), Attempt: s.Attempt, Keep: uint64(r.int()), From: uint64(r.int()), Code: r.text(),
		}
	}
	if !r.skipNull(4) {
		s.Progress = &store.Progress{Attempt: int(r.int()), Rev: uint64(r.int()), Percent: r.float(), Message: r.text()}
	}
	return e
}

// entries reads all rows of a statement whose columns are requestColumns.
func entries(stmt *sqlite.Stmt, owner int64) (out []*entry, err error) {
	err = eachRow(stmt, func(r *row) (bool, error) {
		out = append(out, r.entry(owner))
		return true, nil
	})
	return out, err
}
