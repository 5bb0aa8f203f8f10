package store

import "time"

// Key names a request. IDs are unique in their tenant.
type Key struct {
	Tenant string
	ID     string
}

// Status is where a request stands in its life.
type Status string

// The states of a request.
const (
	Queued    Status = "queued"
	Running   Status = "running"
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// Ended tells whether the status is one of the three ends.
func (s Status) Ended() bool { return s == Succeeded || s == Failed || s == Cancelled }

// Valid tells whether the status is one of the five.
func (s Status) Valid() bool { return s == Queued || s == Running || s.Ended() }

// Request is a request to be accepted.
type Request struct {
	Key
	// Subject owns the request.
	Subject string
	Action  string
	// Input is the payload, kept byte for byte; Metadata may be nil.
	Input    []byte
	Metadata []byte
	// Hash covers action and payload; see Hash.
	Hash [32]byte
	// IdempotencyKey is scoped to (tenant, subject, action). Empty: none.
	IdempotencyKey string
	// NotBefore delays the first attempt. Zero: at once.
	NotBefore time.Time
	// Deadline is when the request ends if it has not ended before.
	Deadline time.Time
	// CancelAfter cancels the request when no connection has followed it for
	// so long. Nil: never.
	CancelAfter *time.Duration
	// Connection is the caller's own, which follows from the start. Empty: no
	// connection follows yet.
	Connection string
	// RetryOf is the id of the dead letter that an operator retries.
	RetryOf string
	// Claim makes the new request a running one, attempt 1.
	Claim *Claimant
	// Progress is what a promoted call had reported.
	Progress *Progress
	// KnownOnly accepts nothing new: an unknown id gets ErrExpired.
	KnownOnly bool
}

// Acceptance is what Accept came to.
type Acceptance struct {
	State State
	// Fresh tells that the request was stored by this call.
	Fresh bool
}

// Claimant is who claims.
type Claimant struct {
	// Lease is for how long the claim holds unless renewed by Record. Stores
	// with one owner ignore it: their leases hold until they are opened again.
	Lease time.Duration
	// Quarantine reports that the caller runs no other quarantined request at
	// the same time. Without it, quarantined requests are refused with
	// ErrQuarantined.
	Quarantine bool
}

// QuarantineAfter is the crash count from which on a request is quarantined.
const QuarantineAfter = 2

// Fence is the right to write, held by the newest claim.
type Fence struct {
	Key
	Fence uint64
	// Lease is for how long Record renews; see Claimant.
	Lease time.Duration
}

// AttemptMark is the newest attempt mark.
type AttemptMark struct {
	// Seq is the mark's own seq.
	Seq uint64
	// Attempt is the attempt that begins with it.
	Attempt int
	// Keep is the seq above which earlier chunks are void.
	Keep uint64
	// From is the first seq that the mark stands for.
	From uint64
	// Code says why the attempt before ended.
	Code string
}

// Progress is the newest progress of a request.
type Progress struct {
	Attempt int
	// Rev counts reports within the attempt, from 1.
	Rev     uint64
	Percent float64
	Message string
}

// State is the small record that makes everything else true.
type State struct {
	Key
	Subject  string
	Action   string
	Hash     [32]byte
	Status   Status
	Accepted time.Time // to the millisecond; the epoch of the stream
	Deadline time.Time
	// Due is when a queued request may run, or when a running one's lease ends.
	// Zero after the end, and while it runs in a store whose leases time does
	// not void. See CheckAt.
	Due     time.Time
	Ended   time.Time
	RetryOf string
	// CancelAfter: see Request.
	CancelAfter *time.Duration
	// UnsubscribedAt is when the last connection that followed a request with
	// CancelAfter left. Zero: a connection follows it, or it has no CancelAfter.
	UnsubscribedAt time.Time

	// Fence counts claims, Attempt runs, Failures the attempts that count
	// against Retry, CrashCount the workers lost while they held the request.
	Fence      uint64
	Attempt    int
	Failures   int
	CrashCount int

	// LastSeq is the newest event's seq.
	LastSeq uint64
	// Keep is the seq up to which chunks survive the current attempt.
	Keep uint64
	// AttemptMark is nil during the first attempt.
	AttemptMark *AttemptMark
	// Code is why the last attempt ended, or the end's code.
	Code string
	// DeadLetter tells that the request ended as a dead letter.
	DeadLetter bool

	Progress        *Progress
	CancelRequested bool
	// Watch is raised by every change of who follows the request.
	Watch uint64
	// Connection is the caller's own. Empty: there was none, or it has left.
	Connection string
}

// CancelAt returns when the request is to be cancelled because no connection
// follows it. Zero: a connection follows it, it has no CancelAfter, its cancel
// was requested already, or it has ended.
func (s *State) CancelAt() time.Time {
	if s.CancelAfter == nil || s.UnsubscribedAt.IsZero() || s.CancelRequested || s.Status.Ended() {
		return time.Time{}
	}
	return TruncateMillis(s.UnsubscribedAt.Add(*s.CancelAfter))
}

// CheckAt returns when the engine must look at the request: the earlier of Due
// and CancelAt, of those that are set.
func (s *State) CheckAt() time.Time {
	at := s.CancelAt()
	if at.IsZero() || !s.Due.IsZero() && s.Due.Before(at) {
		return s.Due
	}
	return at
}

// Quarantined reports whether the request is suspected of crashing workers, so
// that no other such request may run at the same time.
func (s *State) Quarantined() bool { return s.CrashCount >= QuarantineAfter }

// ClaimedRequest is a claimed request, ready to run.
type ClaimedRequest struct {
	State    State
	Input    []byte
	Metadata []byte
	// Checkpoint is what the last attempt that made one left; nil: none.
	Checkpoint []byte
}

// Report is what an attempt has done since its last Record.
type Report struct {
	// Segment is nil when there are no new events.
	Segment *Segment
	// Checkpoint is nil when there is no new one. It is true together with
	// the segment, and sets State.Keep to CheckpointKeep.
	Checkpoint     []byte
	CheckpointKeep uint64
	// Progress is nil when unchanged.
	Progress *Progress
	// ClearConnection tells that the caller's own connection has left or was
	// replaced: State.Connection becomes empty.
	ClearConnection bool
}

// Outcome is how an attempt ended.
type Outcome struct {
	Report
	// End is the request's end. Nil: back to the queue, due at Due.
	End *End
	Due time.Time
	// Code says why a request goes back to the queue.
	Code string
	// Failure charges the attempt against Retry.
	Failure bool
}

// End is a request's end.
type End struct {
	Status Status
	// Code and Message are an error's; empty when succeeded.
	Code    string
	Message string
	// Retryable tells the client whether calling anew can help.
	Retryable bool
	// Payload is the result, or an error's details; may be nil.
	Payload []byte
	// DeadLetter makes the request a dead letter.
	DeadLetter bool
}

// Query selects what List returns.
type Query struct {
	Tenant string
	// Subject is empty for all of the tenant.
	Subject string
	// Status and Action are filters. Empty: all.
	Status Status
	Action string
	// From and To bound the time of acceptance, From included. Zero: unbounded.
	From, To time.Time
	// Limit is the page's size. Default 50, at most 100.
	Limit int
}

// Summary is one request of a list.
type Summary struct {
	Key
	Subject         string
	Action          string
	Status          Status
	Attempt         int
	CrashCount      int
	Accepted        time.Time
	Ended           time.Time
	Due             time.Time
	LastSeq         uint64
	Code            string
	DeadLetter      bool
	Percent         *float64
	CancelRequested bool
	RetryOf         string
}

// Summary returns what a list says of the request.
func (s *State) Summary() Summary {
	out := Summary{
		Key: s.Key, Subject: s.Subject, Action: s.Action, Status: s.Status, Attempt: s.Attempt, CrashCount: s.CrashCount,
		Accepted: s.Accepted, Ended: s.Ended, Due: s.Due, LastSeq: s.LastSeq, Code: s.Code, DeadLetter: s.DeadLetter,
		CancelRequested: s.CancelRequested, RetryOf: s.RetryOf,
	}
	if s.Progress != nil {
		p := s.Progress.Percent
		out.Percent = &p
	}
	return out
}

// Hint says that a request wants to be looked at. The store is the truth.
type Hint struct {
	Key
	// Due is State.CheckAt.
	Due        time.Time
	Status     Status
	Action     string
	Deadline   time.Time
	CrashCount int
	// Fence is the request's newest.
	Fence uint64
	// CancelAt is State.CancelAt, and Watch the revision at which it holds; see
	// Watcher.
	CancelAt time.Time
	Watch    uint64
}

// Hint returns what an index of due requests says of the request.
func (s *State) Hint() Hint {
	return Hint{
		Key: s.Key, Due: s.CheckAt(), Status: s.Status, Action: s.Action, Deadline: s.Deadline, CrashCount: s.CrashCount,
		Fence: s.Fence, CancelAt: s.CancelAt(), Watch: s.Watch,
	}
}
