package store

import (
	"fmt"
	"time"
)

// This file holds the rules of a request's life as pure functions of its
// state. Stores share them and add what only they know: which lease holds, and
// what is already stored. States are values; what their pointers point to is
// never changed, so that copies may be shared.

// WorkerLost is the code of a mark whose attempt before died with its worker.
const WorkerLost = "worker_lost"

// CancelledEnd is the end of a request that was cancelled while nothing ran.
func CancelledEnd() *End {
	return &End{Status: Cancelled, Code: "cancelled", Message: "the call was cancelled"}
}

// TruncateMillis returns the time as stores keep it: whole milliseconds, local, zero if
// it is zero.
func TruncateMillis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli())
}

// NewState returns the first state of a request that is accepted now. Cancelled
// tells that a cancel of it was remembered: then it is born ended, with
// [CancelledEnd]. The lease of a state that is born running is the store's
// own matter, and so is its Due.
func NewState(n *Request, now time.Time, cancelled bool) State {
	s := State{
		Key: n.Key, Subject: n.Subject, Action: n.Action, Hash: n.Hash, Status: Queued,
		Accepted: TruncateMillis(now), Deadline: TruncateMillis(n.Deadline), RetryOf: n.RetryOf,
		LastSeq: 1, Keep: 1, Connection: n.Connection,
	}
	if n.CancelAfter != nil {
		after := *n.CancelAfter
		s.CancelAfter = &after
	}
	if n.Progress != nil {
		p := *n.Progress
		s.Progress = &p
	}
	if s.CancelAfter != nil && n.Connection == "" && !cancelled {
		s.UnsubscribedAt = TruncateMillis(now)
	}
	switch {
	case cancelled:
		s.CancelRequested = true
		return s.end(CancelledEnd(), now)
	case n.Claim != nil && !n.NotBefore.After(now):
		s.Status, s.Fence, s.Attempt = Running, 1, 1
	case n.NotBefore.After(now):
		s.Due = s.bound(n.NotBefore)
	default:
		s.Due = s.bound(now)
	}
	return s
}

// bound returns a due time no later than the deadline.
func (s *State) bound(due time.Time) time.Time {
	due = TruncateMillis(due)
	if !s.Deadline.IsZero() && due.After(s.Deadline) {
		return s.Deadline
	}
	return due
}

// CheckDuplicate returns nil if accepting n again is answered by this state, else
// ErrConflict.
func (s *State) CheckDuplicate(n *Request) error {
	if s.Subject != n.Subject || s.Action != n.Action || s.Hash != n.Hash {
		return ErrConflict
	}
	return nil
}

// Expired tells whether the request's retention is over.
func (s *State) Expired(now time.Time, retention time.Duration) bool {
	return s.Status.Ended() && !now.Before(s.Ended.Add(retention))
}

// Claim returns the state after a claim. Leased tells whether the lease of a
// running request still holds. The new state's Due is zero: a store whose
// leases end by the clock sets it to the lease's end. With an error the state
// is unchanged.
//
// Errors: ErrEnded, ErrNotDue, ErrLeased, ErrQuarantined.
func (s State) Claim(by Claimant, now time.Time, leased bool) (State, error) {
	next := s
	switch {
	case s.Status.Ended():
		return s, ErrEnded
	case s.Status == Queued && s.Due.After(now):
		return s, ErrNotDue
	case s.Status == Running && leased:
		return s, ErrLeased
	case s.Status == Running:
		next.CrashCount++
		next.Code = WorkerLost
	}
	if next.Quarantined() && !by.Quarantine {
		return s, ErrQuarantined
	}
	next.Status, next.Due, next.Progress = Running, time.Time{}, nil
	next.Fence++
	next.Attempt++
	if next.Attempt > 1 {
		// All between Keep and the new mark is void: chunks of attempts
		// without a checkpoint, or marks that this one replaces.
		next.LastSeq++
		next.AttemptMark = &AttemptMark{
			Seq: next.LastSeq, Attempt: next.Attempt, Keep: next.Keep, From: next.Keep + 1, Code: next.Code,
		}
	}
	return next, nil
}

// Empty tells whether the report says nothing.
func (r *Report) Empty() bool {
	return r.Segment == nil && r.Checkpoint == nil && r.Progress == nil && !r.ClearConnection
}

// Record returns the state after a report under the given fence. Repeated
// tells that the report's segment ends where the stream does: the store then
// looks whether it holds that segment, with this First and fence. If so, the
// report had its effect, and the state is right as it is; if not, the segment
// overlaps, see [OverlapError]. With an error the state is unchanged.
//
// Errors: ErrFenced, or one that names what is wrong with the report.
func (s State) Record(fence uint64, r *Report) (next State, repeated bool, err error) {
	if s.Fence != fence || s.Status != Running {
		return s, false, ErrFenced
	}
	return s.report(r)
}

func (s State) report(r *Report) (next State, repeated bool, err error) {
	if r.Segment != nil && r.Segment.Last == s.LastSeq {
		return s, true, nil
	}
	next = s
	marked := s.AttemptMark == nil || s.LastSeq > s.AttemptMark.Seq
	if r.Segment != nil {
		if err := s.checkSegment(r.Segment); err != nil {
			return s, false, err
		}
		next.LastSeq, next.CrashCount, marked = r.Segment.Last, 0, true
	}
	if r.Checkpoint != nil {
		if err := s.checkKeep(r.CheckpointKeep, next.LastSeq, marked); err != nil {
			return s, false, err
		}
		next.Keep, next.CrashCount = r.CheckpointKeep, 0
	}
	if r.Progress != nil {
		p := *r.Progress
		next.Progress = &p
	}
	if r.ClearConnection {
		next.Connection = ""
	}
	return next, false, nil
}

// checkSegment checks that a segment goes on exactly where the stream stands: the
// attempt's mark if it is not in a segment yet, then chunks without a gap.
func (s *State) checkSegment(g *Segment) error {
	events, first, seq := g.Events, s.LastSeq+1, s.LastSeq
	if s.AttemptMark != nil && s.LastSeq == s.AttemptMark.Seq {
		if len(events) == 0 || events[0].Kind != Attempt || events[0].Seq != s.AttemptMark.Seq || events[0].From != s.AttemptMark.From {
			return fmt.Errorf("the first segment of attempt %d must begin with its mark, seq %d", s.Attempt, s.AttemptMark.Seq)
		}
		events, first = events[1:], s.AttemptMark.From
	}
	if g.First != first {
		return fmt.Errorf("a segment that begins at seq %d leaves a gap or an overlap: the next one begins at %d", g.First, first)
	}
	if len(events) == 0 {
		return fmt.Errorf("a segment without chunks, at seq %d", g.First)
	}
	for i := range events {
		seq++
		if events[i].Kind != Chunk || events[i].Seq != seq {
			return fmt.Errorf("event %d of the segment must be the chunk with seq %d, not seq %d", i, seq, events[i].Seq)
		}
	}
	if g.Last != seq {
		return fmt.Errorf("the segment ends at seq %d, its events at %d", g.Last, seq)
	}
	return nil
}

// checkKeep checks a checkpoint's Keep: it never falls, is no later than the
// stream, and names nothing that a mark made void. While the attempt's mark is
// in no segment, Keep cannot move: the next mark would leave this one out.
func (s *State) checkKeep(keep, last uint64, marked bool) error {
	switch {
	case keep == s.Keep:
		return nil
	case keep < s.Keep || keep > last:
		return fmt.Errorf("a checkpoint keeps seq %d, which is not within %d to %d", keep, s.Keep, last)
	case !marked || s.AttemptMark != nil && s.AttemptMark.From <= keep && keep < s.AttemptMark.Seq:
		return fmt.Errorf("a checkpoint keeps seq %d, which the mark with seq %d made void", keep, s.AttemptMark.Seq)
	}
	return nil
}

// OverlapError returns the error for a segment that ends where the stream does
// and is not the one that the store holds.
func (s *State) OverlapError(g *Segment) error {
	return fmt.Errorf("a segment of seqs %d to %d overlaps: the stream stands at seq %d", g.First, g.Last, s.LastSeq)
}

// Finish returns the state after an outcome under the given fence. End is what
// is to be stored as the request's end, nil if it goes back to the queue.
//
// Repeated speaks of the outcome's report, as in [State.Record]. Again tells
// that the outcome seems to have had its effect already: a store that holds
// the same end (or none, if end is nil) returns the state without writing,
// another returns ErrFenced. With an error the state is unchanged.
//
// Errors: ErrFenced, or one that names what is wrong with the report.
func (s State) Finish(fence uint64, o *Outcome, now time.Time) (next State, end *End, repeated, again bool, err error) {
	switch {
	case s.Fence != fence:
		return s, nil, false, false, ErrFenced
	case s.Status.Ended(), s.Status == Queued && o.End == nil:
		if !s.alreadyApplied(o) {
			return s, nil, false, false, ErrFenced
		}
		return s, o.End, false, true, nil
	case s.Status == Queued && !o.Empty():
		return s, nil, false, false, fmt.Errorf("a request that is queued takes no report")
	}
	next, repeated, err = s.report(&o.Report)
	if err != nil {
		return s, nil, false, false, err
	}
	end = o.End
	if end == nil && next.CancelRequested {
		end = CancelledEnd()
	}
	if o.Failure {
		next.Failures++
	}
	if end != nil {
		return next.end(end, now), end, repeated, false, nil
	}
	due := o.Due
	if due.IsZero() {
		due = now
	}
	next.Status, next.Due, next.Code = Queued, next.bound(due), o.Code
	return next, nil, repeated, false, nil
}

// alreadyApplied tells whether the state, under the same fence, looks like what the
// outcome came to.
func (s *State) alreadyApplied(o *Outcome) bool {
	last := s.LastSeq
	if s.Status.Ended() {
		last--
	}
	if o.Segment != nil && o.Segment.Last != last {
		return false
	}
	switch {
	case o.End != nil:
		return s.Status == o.End.Status && s.Code == o.End.Code && s.DeadLetter == o.End.DeadLetter
	case s.Status == Queued:
		return s.Code == o.Code && (o.Due.IsZero() || s.Due.Equal(s.bound(o.Due)))
	default:
		return s.Status == Cancelled && s.CancelRequested
	}
}

// Cancel returns the state after a cancel. End is not nil if that ended the
// request. With an error the state is unchanged.
//
// Errors: ErrEnded.
func (s State) Cancel(now time.Time) (next State, end *End, err error) {
	if s.Status.Ended() {
		return s, nil, ErrEnded
	}
	s.CancelRequested = true
	if s.Status == Running {
		return s, nil, nil
	}
	end = CancelledEnd()
	return s.end(end, now), end, nil
}

// SetSubscribed returns the state after a change of who follows the request;
// see [Watcher]. With an error the state is unchanged.
//
// Errors: ErrEnded.
func (s State) SetSubscribed(subscribed bool, now time.Time) (State, error) {
	if s.Status.Ended() {
		return s, ErrEnded
	}
	s.Watch++
	switch {
	case subscribed:
		s.UnsubscribedAt = time.Time{}
	case s.CancelAfter != nil && s.UnsubscribedAt.IsZero():
		s.UnsubscribedAt = TruncateMillis(now)
	}
	return s, nil
}

// CancelUnsubscribed returns the state after a cancel because no connection
// follows the request. If Watch is not watch, or CancelAt has not come, the state
// is unchanged. End is not nil if the cancel ended the request.
//
// Errors: ErrEnded.
func (s State) CancelUnsubscribed(watch uint64, now time.Time) (next State, end *End, err error) {
	at := s.CancelAt()
	if !s.Status.Ended() && (s.Watch != watch || at.IsZero() || now.Before(at)) {
		return s, nil, nil
	}
	return s.Cancel(now)
}

func (s State) end(e *End, now time.Time) State {
	s.LastSeq++
	s.Status, s.Code, s.DeadLetter = e.Status, e.Code, e.DeadLetter
	s.Ended, s.Due = TruncateMillis(now), time.Time{}
	return s
}

// Equal tells whether two ends are the same.
func (e *End) Equal(other *End) bool {
	return e.Status == other.Status && e.Code == other.Code && e.Message == other.Message &&
		e.Retryable == other.Retryable && e.DeadLetter == other.DeadLetter && string(e.Payload) == string(other.Payload)
}
