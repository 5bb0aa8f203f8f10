package store

import "time"

// Key names a request. IDs are unique in their tenant.
type Key struct {
	Tenant string
	ID     string
}

// Status is the status of a request.
type Status string

// The statuses of a request.
const (
	Queued    Status = "queued"
	Running   Status = "running"
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// Ended reports whether the request has ended.
func (s Status) Ended() bool { return s == Succeeded || s == Failed || s == Cancelled }

// Valid reports whether the status is one of the five above.
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
	// NotBefore delays the first attempt. Zero: no delay.
	NotBefore time.Time
	// Deadline is the time at which the request ends at the latest.
	Deadline time.Time
	// CancelAfter cancels the request after no connection has followed it for
	// this long. Nil: never.
	CancelAfter *time.Duration
	// Connection is the caller's own connection, which follows the request from
	// the start. Empty: no connection follows it yet.
	Connection string
	// RetryOf is the id of the dead letter that an operator retries.
	RetryOf string
	// Claim makes the new request a running one, attempt 1.
	Claim *Claimant
	// Progress is the progress that a promoted call has already reported.
	Progress *Progress
	// KnownOnly accepts no new request: an unknown id is refused with ErrExpired.
	KnownOnly bool
}

// Acceptance is the result of Accept.
type Acceptance struct {
	State State
	// Fresh reports that this call of Accept stored the request.
	Fresh bool
}

// Claimant holds the terms of a claim.
type Claimant struct {
	// Lease is how long the claim is valid unless Record renews it. Stores with
	// one owner ignore it: their leases are valid until the store is reopened.
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
	// Lease is how long the renewal by Record is valid; see Claimant.
	Lease time.Duration
}

// AttemptMark is the newest attempt mark.
type AttemptMark struct {
	// Seq is the mark's own seq.
	Seq uint64
	// Attempt is the attempt that begins with it.
	Attempt int
	// Keep is the seq after which earlier chunks are discarded.
	Keep uint64
	// From is the first seq that the mark replaces.
	From uint64
	// Code is the reason why the previous attempt ended.
	Code string
}

// Progress is the newest progress of a request.
type Progress struct {
	Attempt int
	// Rev counts the reports of progress of the attempt, from 1.
	Rev     uint64
	Percent float64
	Message string
}

// State is the small record that decides what is true of a request: data that it
// does not cover, such as orphaned segments, counts as not stored.
type State struct {
	Key
	Subject  string
	Action   string
	Hash     [32]byte
	Status   Status
	Accepted time.Time // to the millisecond; the epoch of the stream
	Deadline time.Time
	// Due is when a queued request may run, or when a running one's lease ends.
	// Zero after the end, and for a running request in a store whose leases do
	// not expire. See CheckAt.
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
	// Keep is the seq up to which chunks are kept if the current attempt fails.
	Keep uint64
	// AttemptMark is nil during the first attempt.
	AttemptMark *AttemptMark
	// Code is the reason why the last attempt ended, or the code of the end.
	Code string
	// DeadLetter reports that the request ended as a dead letter.
	DeadLetter bool

	Progress        *Progress
	CancelRequested bool
	// Watch counts the calls of Watcher.Watch.
	Watch uint64
	// Connection is the caller's own. Empty: there was none, or it was closed.
	Connection string
}

// CancelAt returns when the request must be cancelled because no connection
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
	// Checkpoint is the newest checkpoint of all attempts; nil: none.
	Checkpoint []byte
}

// Report is what an attempt has done since its last Record.
type Report struct {
	// Segment is nil when there are no new events.
	Segment *Segment
	// Checkpoint is nil when there is no new one. It is stored together with
	// the segment, and sets State.Keep to CheckpointKeep.
	Checkpoint     []byte
	CheckpointKeep uint64
	// Progress is nil when unchanged.
	Progress *Progress
	// ClearConnection makes State.Connection empty, because the caller's own
	// connection was closed or replaced.
	ClearConnection bool
}

// Outcome is how an attempt ended.
type Outcome struct {
	Report
	// End is the request's end. Nil: the request goes back to the queue, due at
	// Due.
	End *End
	Due time.Time
	// Code is the reason why a request goes back to the queue.
	Code string
	// Failure counts the attempt against Retry.
	Failure bool
}

// End is a request's end.
type End struct {
	Status Status
	// Code and Message describe an error; empty when succeeded.
	Code    string
	Message string
	// Retryable reports to the client whether calling again can help.
	Retryable bool
	// Payload is the result, or the details of an error; may be nil.
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
	// Limit is the page size. Default 50, at most 100.
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

// Summary returns the request as a row of a list.
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

// Hint names a request that the engine must look at. It may be outdated; the
// store decides.
type Hint struct {
	Key
	// Due is State.CheckAt.
	Due        time.Time
	Status     Status
	Action     string
	Deadline   time.Time
	CrashCount int
	// Fence is the request's newest fence.
	Fence uint64
	// CancelAt is State.CancelAt, and Watch the revision that it is valid for;
	// see Watcher.
	CancelAt time.Time
	Watch    uint64
}

// Hint returns the entry of the request in an index of due requests.
func (s *State) Hint() Hint {
	return Hint{
		Key: s.Key, Due: s.CheckAt(), Status: s.Status, Action: s.Action, Deadline: s.Deadline, CrashCount: s.CrashCount,
		Fence: s.Fence, CancelAt: s.CancelAt(), Watch: s.Watch,
	}
}
