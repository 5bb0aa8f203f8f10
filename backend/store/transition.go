package store

import (
	"fmt"
	"time"
)

// This file holds the rules of a request's life as pure functions of its
// state. Stores share them and add what only a store can know: which leases
// are valid, and what is already stored. States are values; what their pointers
// point to is never changed, so copies can be shared.

// WorkerLost is the code of an attempt mark if the worker of the previous
// attempt was lost.
const WorkerLost = "worker_lost"

// CancelledEnd is the end of a request that was cancelled while nothing ran.
func CancelledEnd() *End {
	return &End{Status: Cancelled, Code: "cancelled", Message: "the call was cancelled"}
}

// TruncateMillis returns the time as stores keep it: whole milliseconds, in
// local time; zero stays zero.
func TruncateMillis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli())
}

// NewState returns the first state of a request that is accepted now. Cancelled
// reports that a cancel of it was retained: then the request ends at once, with
// [CancelledEnd]. For a request that starts as running, the store sets the lease
// and Due.
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
		return s.withEnd(CancelledEnd(), now)
	case n.Claim != nil && !n.NotBefore.After(now):
		s.Status, s.Fence, s.Attempt = Running, 1, 1
	case n.NotBefore.After(now):
		s.Due = s.boundDue(n.NotBefore)
	default:
		s.Due = s.boundDue(now)
	}
	return s
}

// boundDue returns a due time no later than the deadline.
func (s *State) boundDue(due time.Time) time.Time {
	due = TruncateMillis(due)
	if !s.Deadline.IsZero() && due.After(s.Deadline) {
		return s.Deadline
	}
	return due
}

// CheckDuplicate returns nil if n is the same request as the one in this state,
// else ErrConflict.
func (s *State) CheckDuplicate(n *Request) error {
	if s.Subject != n.Subject || s.Action != n.Action || s.Hash != n.Hash {
		return ErrConflict
	}
	return nil
}

// Expired reports whether the retention of the request is over.
func (s *State) Expired(now time.Time, retention time.Duration) bool {
	return s.Status.Ended() && !now.Before(s.Ended.Add(retention))
}

// Claim returns the state after a claim. Leased reports whether the lease of a
// running request is still valid. The new state's Due is zero; a store whose
// leases expire by the clock sets it to the end of the lease. With an error the
// state is unchanged.
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
		// Everything between Keep and the new mark is discarded: chunks after
		// the last checkpoint, and marks that this one replaces.
		next.LastSeq++
		next.AttemptMark = &AttemptMark{
			Seq: next.LastSeq, Attempt: next.Attempt, Keep: next.Keep, From: next.Keep + 1, Code: next.Code,
		}
	}
	return next, nil
}

// Empty reports whether the report holds nothing.
func (r *Report) Empty() bool {
	return r.Segment == nil && r.Checkpoint == nil && r.Progress == nil && !r.ClearConnection
}

// Record returns the state after a report under the given fence. Repeated
// reports that the segment ends where the stream does: the store must then
// check whether it holds that segment, with this First and fence. If so, the
// report was stored before, and the state is correct as it is; if not, the
// segment overlaps, see [State.OverlapError]. With an error the state is
// unchanged.
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

// checkSegment checks that a segment continues the stream exactly: the mark of
// the attempt if no segment holds it yet, then chunks without a gap.
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

// checkKeep checks a checkpoint's Keep: it must not decrease, must not exceed
// the last seq, and must not be a seq that a mark discarded. While no segment
// holds the attempt's mark, Keep cannot change: the next mark would leave this
// one out.
func (s *State) checkKeep(keep, last uint64, marked bool) error {
	switch {
	case keep == s.Keep:
		return nil
	case keep < s.Keep || keep > last:
		return fmt.Errorf("a checkpoint keeps seq %d, which is not within %d to %d", keep, s.Keep, last)
	case !marked || s.AttemptMark != nil && s.AttemptMark.From <= keep && keep < s.AttemptMark.Seq:
		return fmt.Errorf("a checkpoint keeps seq %d, which the mark with seq %d discarded", keep, s.AttemptMark.Seq)
	}
	return nil
}

// OverlapError returns the error for a segment that ends where the stream does
// but is not the stored one.
func (s *State) OverlapError(g *Segment) error {
	return fmt.Errorf("a segment of seqs %d to %d overlaps: the stream stands at seq %d", g.First, g.Last, s.LastSeq)
}

// Finish returns the state after an outcome under the given fence. End must be
// stored as the request's end; it is nil if the request goes back to the queue.
//
// Repeated is about the outcome's report, as in [State.Record]. Again reports
// that the outcome seems to be applied already: a store that holds the same end
// (or none, if end is nil) must return the state without writing, another one
// ErrFenced. With an error the state is unchanged.
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
		return s, nil, false, false, fmt.Errorf("a report for a queued request")
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
		return next.withEnd(end, now), end, repeated, false, nil
	}
	due := o.Due
	if due.IsZero() {
		due = now
	}
	next.Status, next.Due, next.Code = Queued, next.boundDue(due), o.Code
	return next, nil, repeated, false, nil
}

// alreadyApplied reports whether the state, under the same fence, looks like the
// result of the outcome.
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
		return s.Code == o.Code && (o.Due.IsZero() || s.Due.Equal(s.boundDue(o.Due)))
	default:
		return s.Status == Cancelled && s.CancelRequested
	}
}

// Cancel returns the state after a cancel. End is not nil if the cancel ended
// the request. With an error the state is unchanged.
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
	return s.withEnd(end, now), end, nil
}

// SetSubscribed returns the state after the request got its first subscriber or
// lost its last one; see [Watcher]. With an error the state is unchanged.
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

// Watched returns the state after [Watcher].Watch: SetSubscribed, and if the
// request has no time left without subscribers, CancelUnsubscribed. End is not nil
// if that ended the request. With an error the state is unchanged.
//
// Errors: ErrEnded.
func (s State) Watched(subscribed bool, now time.Time) (next State, end *End, err error) {
	next, err = s.SetSubscribed(subscribed, now)
	if err != nil || subscribed {
		return next, nil, err
	}
	return next.CancelUnsubscribed(next.Watch, now)
}

// CancelUnsubscribed returns the state after a cancel because no connection
// follows the request. The state is unchanged if Watch is not watch, or CancelAt
// has not been reached. End is not nil if the cancel ended the request.
//
// Errors: ErrEnded.
func (s State) CancelUnsubscribed(watch uint64, now time.Time) (next State, end *End, err error) {
	at := s.CancelAt()
	if !s.Status.Ended() && (s.Watch != watch || at.IsZero() || now.Before(at)) {
		return s, nil, nil
	}
	return s.Cancel(now)
}

// withEnd returns the state after the request has ended.
func (s State) withEnd(e *End, now time.Time) State {
	s.LastSeq++
	s.Status, s.Code, s.DeadLetter = e.Status, e.Code, e.DeadLetter
	s.Ended, s.Due = TruncateMillis(now), time.Time{}
	return s
}

// Equal reports whether two ends are the same.
func (e *End) Equal(other *End) bool {
	return e.Status == other.Status && e.Code == other.Code && e.Message == other.Message &&
		e.Retryable == other.Retryable && e.DeadLetter == other.DeadLetter && string(e.Payload) == string(other.Payload)
}
