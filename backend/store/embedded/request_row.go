package embedded

import (
	"math"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// entry is a row of the table requests.
type entry struct {
	state store.State
	// lease is the incarnation of the store that took the claim.
	lease          int64
	idempotencyKey string
	// input is kept in the writer's cache while it is small and nothing but
	// it is needed to run the request; nil: unknown.
	input *input
}

type input struct{ payload, metadata []byte }

// never is the due of a request that runs: nothing is due while its owner
// lives.
const never = math.MaxInt64

const requestColumns = `tenant, id, subject, action, hash, accepted, deadline, retry_of, cancel_after, connection, idempotency_key,
	status, due, ended, dead, fence, lease, attempt, failures, deaths, last_seq, keep, code, cancel_requested,
	mark_seq, mark_keep, mark_from, mark_code, progress_attempt, progress_rev, progress_percent, progress_message`

const (
	selectRequest = `SELECT ` + requestColumns + ` FROM requests WHERE tenant = ? AND id = ?`

	insertRequest = `INSERT INTO requests (shard, ` + requestColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`

	lifeColumns = `fence = ?, lease = ?, attempt = ?, failures = ?, deaths = ?, last_seq = ?, keep = ?, code = ?,
		cancel_requested = ?, mark_seq = ?, mark_keep = ?, mark_from = ?, mark_code = ?,
		progress_attempt = ?, progress_rev = ?, progress_percent = ?, progress_message = ?`

	// updateRequest changes whatever may change, updateRunning what changes
	// while a request runs on: it touches no index.
	updateRequest = `UPDATE requests SET status = ?, due = ?, ended = ?, dead = ?, ` + lifeColumns + updateWhere
	updateRunning = `UPDATE requests SET ` + lifeColumns + updateWhere
	updateWhere   = ` WHERE tenant = ? AND id = ? AND fence = ? AND last_seq = ? AND ended IS NULL`
)

var statuses = [...]store.Status{1: store.Queued, 2: store.Running, 3: store.Succeeded, 4: store.Failed, 5: store.Cancelled}

func statusCode(s store.Status) int64 {
	for i := 1; i < len(statuses); i++ {
		if statuses[i] == s {
			return int64(i)
		}
	}
	return 0
}

func status(code int64) store.Status {
	if code < 1 || int(code) >= len(statuses) {
		return ""
	}
	return statuses[code]
}

// identity binds the columns that never change.
func (b *binding) identity(e *entry) *binding {
	s := &e.state
	b.text(s.Tenant).text(s.ID).text(s.Subject).text(s.Action).bytes(s.Hash[:]).time(s.Accepted).time(s.Deadline).optional(s.RetryOf)
	if s.CancelAfter == nil {
		b.null()
	} else {
		b.int(int64(*s.CancelAfter))
	}
	return b.optional(s.Connection).optional(e.idempotencyKey)
}

// standing binds status, due, ended and dead: the columns of the indexes.
func (b *binding) standing(s *store.State) *binding {
	b.int(statusCode(s.Status))
	if s.Status == store.Running {
		b.int(never)
	} else {
		b.time(s.Due)
	}
	return b.time(s.Ended).bool(s.Dead)
}

// life binds what changes while a request runs.
func (b *binding) life(e *entry) *binding {
	s := &e.state
	b.int(int64(s.Fence)).int(e.lease).int(int64(s.Attempt)).int(int64(s.Failures)).int(int64(s.Deaths)).
		int(int64(s.LastSeq)).int(int64(s.Keep)).optional(s.Code).bool(s.CancelRequested)
	if m := s.Mark; m != nil {
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

// entry reads the columns of requestColumns.
func (r *row) entry() *entry {
	e := &entry{}
	s := &e.state
	s.Tenant, s.ID, s.Subject, s.Action = r.text(), r.text(), r.text(), r.text()
	r.fixed(s.Hash[:])
	s.Accepted, s.Deadline, s.RetryOf = r.time(), r.time(), r.text()
	if r.isNull() {
		r.col()
	} else {
		after := time.Duration(r.int())
		s.CancelAfter = &after
	}
	s.Connection, e.idempotencyKey = r.text(), r.text()
	s.Status = status(r.int())
	if s.Status == store.Running && r.stmt.ColumnInt64(r.next) == never {
		r.col()
	} else {
		s.Due = r.time()
	}
	s.Ended, s.Dead = r.time(), r.bool()
	s.Fence, e.lease, s.Attempt = uint64(r.int()), r.int(), int(r.int())
	s.Failures, s.Deaths = int(r.int()), int(r.int())
	s.LastSeq, s.Keep, s.Code, s.CancelRequested = uint64(r.int()), uint64(r.int()), r.text(), r.bool()
	r.mark(s)
	r.progress(s)
	return e
}

func (r *row) mark(s *store.State) {
	if r.isNull() {
		r.next += 4
		return
	}
	s.Mark = &store.Mark{
		Seq: uint64(r.int()), Attempt: s.Attempt, Keep: uint64(r.int()), From: uint64(r.int()), Code: r.text(),
	}
}

func (r *row) progress(s *store.State) {
	if r.isNull() {
		r.next += 4
		return
	}
	s.Progress = &store.Progress{
		Attempt: int(r.int()), Rev: uint64(r.int()), Percent: r.float(), Message: r.text(),
	}
}
