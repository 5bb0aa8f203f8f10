package faultstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// Each type overrides one operation of the store that it embeds.

type acceptStoresNothing struct{ Roles }

func (q acceptStoresNothing) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	id := n.ID
	n.ID += " elsewhere"
	a, err := q.Roles.Accept(ctx, n)
	a.State.ID = id
	return a, err
}

type acceptLosesMetadata struct{ Roles }

func (q acceptLosesMetadata) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	n.Metadata = nil
	return q.Roles.Accept(ctx, n)
}

type acceptCompactsInput struct{ Roles }

func (q acceptCompactsInput) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	var compact bytes.Buffer
	if json.Compact(&compact, n.Input) == nil {
		n.Input = compact.Bytes()
	}
	return q.Roles.Accept(ctx, n)
}

type acceptRepeats struct{ Roles }

func (q acceptRepeats) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	a, err := q.Roles.Accept(ctx, n)
	a.Fresh = err == nil
	return a, err
}

type acceptOverlooksConflict struct{ Roles }

func (q acceptOverlooksConflict) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	a, err := q.Roles.Accept(ctx, n)
	if errors.Is(err, store.ErrConflict) {
		return store.Acceptance{State: current(ctx, q.Roles, n.Key)}, nil
	}
	return a, err
}

type acceptOverlooksKeyConflict struct{ Roles }

func (q acceptOverlooksKeyConflict) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	a, err := q.Roles.Accept(ctx, n)
	if errors.Is(err, store.ErrIdempotencyConflict) {
		n.IdempotencyKey = ""
		return q.Roles.Accept(ctx, n)
	}
	return a, err
}

// acceptSharesKeys applies idempotency keys to the whole tenant.
type acceptSharesKeys struct {
	Roles
	first sync.Map // of tenant and idempotency key to store.Key
}

func (q *acceptSharesKeys) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	if n.IdempotencyKey != "" {
		if first, known := q.first.LoadOrStore([2]string{n.Tenant, n.IdempotencyKey}, n.Key); known {
			return store.Acceptance{State: current(ctx, q.Roles, first.(store.Key))}, nil
		}
	}
	return q.Roles.Accept(ctx, n)
}

type acceptIgnoresKnownOnly struct{ Roles }

func (q acceptIgnoresKnownOnly) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	n.KnownOnly = false
	return q.Roles.Accept(ctx, n)
}

// cancelsWithoutSubject applies retained cancels to requests of any subject.
type cancelsWithoutSubject struct {
	Roles
	cancelled sync.Map // of store.Key
}

func (q *cancelsWithoutSubject) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	if _, ok := q.cancelled.Load(n.Key); ok {
		_, _ = q.Roles.Cancel(ctx, n.Key, n.Subject)
	}
	return q.Roles.Accept(ctx, n)
}

func (q *cancelsWithoutSubject) Cancel(ctx context.Context, key store.Key, subject string) (store.State, error) {
	q.cancelled.Store(key, true)
	return q.Roles.Cancel(ctx, key, subject)
}

// claimIgnores claims although the store refuses it with a certain error.
type claimIgnores struct {
	Roles
	refusal error
}

func (q claimIgnores) Claim(ctx context.Context, key store.Key, by store.Claimant) (store.ClaimedRequest, error) {
	w, err := q.Roles.Claim(ctx, key, by)
	if !errors.Is(err, q.refusal) {
		return w, err
	}
	w.State = current(ctx, q.Roles, key)
	w.State.Status = store.Running
	w.Input, w.Metadata, _ = q.Input(ctx, key)
	return w, nil
}

type claimCountsNoCrash struct{ Roles }

func (q claimCountsNoCrash) Claim(ctx context.Context, key store.Key, by store.Claimant) (store.ClaimedRequest, error) {
	w, err := q.Roles.Claim(ctx, key, by)
	w.State.CrashCount = 0
	return w, err
}

type claimIgnoresQuarantine struct{ Roles }

func (q claimIgnoresQuarantine) Claim(ctx context.Context, key store.Key, by store.Claimant) (store.ClaimedRequest, error) {
	by.Quarantine = true
	return q.Roles.Claim(ctx, key, by)
}

// changedReport records another report, or under another fence, than it is given.
type changedReport struct {
	Roles
	change func(s store.State, f *store.Fence, r *store.Report)
}

func (q changedReport) Record(ctx context.Context, f store.Fence, r store.Report) (store.State, error) {
	q.change(current(ctx, q.Roles, f.Key), &f, &r)
	return q.Roles.Record(ctx, f, r)
}

func changeReport(change func(s store.State, f *store.Fence, r *store.Report)) func(Roles) Roles {
	return func(q Roles) Roles { return changedReport{q, change} }
}

// closeGap moves a segment that leaves a gap to the end of the stream.
func closeGap(s store.State, _ *store.Fence, r *store.Report) {
	if r.Segment == nil || r.Segment.First <= s.LastSeq+1 {
		return
	}
	gap := r.Segment.First - s.LastSeq - 1
	closed := store.Segment{First: s.LastSeq + 1, Last: r.Segment.Last - gap, Events: slices.Clone(r.Segment.Events)}
	for i := range closed.Events {
		closed.Events[i].Seq -= gap
	}
	r.Segment = &closed
}

func loseCheckpoint(_ store.State, _ *store.Fence, r *store.Report) {
	if r.Checkpoint != nil {
		r.Checkpoint = []byte{}
	}
}

type recordStoresNothing struct{ Roles }

func (q recordStoresNothing) Record(ctx context.Context, f store.Fence, r store.Report) (store.State, error) {
	s, _, err := current(ctx, q.Roles, f.Key).Record(f.Fence, &r)
	return s, err
}

type recordFencesRepetition struct{ Roles }

func (q recordFencesRepetition) Record(ctx context.Context, f store.Fence, r store.Report) (store.State, error) {
	if r.Segment != nil && r.Segment.Last == current(ctx, q.Roles, f.Key).LastSeq {
		return store.State{}, store.ErrFenced
	}
	return q.Roles.Record(ctx, f, r)
}

type recordResetsNoCrash struct{ Roles }

func (q recordResetsNoCrash) Record(ctx context.Context, f store.Fence, r store.Report) (store.State, error) {
	before := current(ctx, q.Roles, f.Key)
	s, err := q.Roles.Record(ctx, f, r)
	s.CrashCount = before.CrashCount
	return s, err
}

type finishStoresNothing struct{ Roles }

func (q finishStoresNothing) Finish(ctx context.Context, f store.Fence, o store.Outcome) (store.State, error) {
	s, _, _, _, err := current(ctx, q.Roles, f.Key).Finish(f.Fence, &o, time.Now())
	return s, err
}

type finishIgnoresFence struct{ Roles }

func (q finishIgnoresFence) Finish(ctx context.Context, f store.Fence, o store.Outcome) (store.State, error) {
	f.Fence = current(ctx, q.Roles, f.Key).Fence
	return q.Roles.Finish(ctx, f, o)
}

type finishTakesSecondEnd struct{ Roles }

func (q finishTakesSecondEnd) Finish(ctx context.Context, f store.Fence, o store.Outcome) (store.State, error) {
	s, err := q.Roles.Finish(ctx, f, o)
	if errors.Is(err, store.ErrFenced) && o.End != nil {
		if s = current(ctx, q.Roles, f.Key); s.Status.Ended() {
			s.Status, s.Code = o.End.Status, o.End.Code
			return s, nil
		}
	}
	return s, err
}

type finishLosesReport struct{ Roles }

func (q finishLosesReport) Finish(ctx context.Context, f store.Fence, o store.Outcome) (store.State, error) {
	if o.End != nil {
		o.Report = store.Report{}
	}
	return q.Roles.Finish(ctx, f, o)
}

type finishIgnoresCancel struct{ Roles }

func (q finishIgnoresCancel) Finish(ctx context.Context, f store.Fence, o store.Outcome) (store.State, error) {
	s := current(ctx, q.Roles, f.Key)
	if o.End == nil && s.CancelRequested {
		s.Status, s.Code, s.Due = store.Queued, o.Code, o.Due
		return s, nil
	}
	return q.Roles.Finish(ctx, f, o)
}

type cancelIgnoresSubject struct{ Roles }

func (q cancelIgnoresSubject) Cancel(ctx context.Context, key store.Key, subject string) (store.State, error) {
	if s := current(ctx, q.Roles, key); s.ID != "" {
		subject = s.Subject
	}
	return q.Roles.Cancel(ctx, key, subject)
}

type cancelIsForgotten struct{ Roles }

func (q cancelIsForgotten) Cancel(ctx context.Context, key store.Key, subject string) (store.State, error) {
	if current(ctx, q.Roles, key).ID == "" {
		return store.State{}, store.ErrNotFound
	}
	return q.Roles.Cancel(ctx, key, subject)
}

type cancelSetsNoFlag struct{ Roles }

func (q cancelSetsNoFlag) Cancel(ctx context.Context, key store.Key, subject string) (store.State, error) {
	if s := current(ctx, q.Roles, key); s.Status == store.Running && s.Subject == subject {
		s.CancelRequested = true
		return s, nil
	}
	return q.Roles.Cancel(ctx, key, subject)
}

type cancelReplacesEnd struct{ Roles }

func (q cancelReplacesEnd) Cancel(ctx context.Context, key store.Key, subject string) (store.State, error) {
	s, err := q.Roles.Cancel(ctx, key, subject)
	if errors.Is(err, store.ErrEnded) {
		s.Status, s.Code = store.Cancelled, store.CancelledEnd().Code
		return s, nil
	}
	return s, err
}

type watchStoresNothing struct{ Roles }

func (q watchStoresNothing) Watch(ctx context.Context, key store.Key, subscribed bool) (store.State, error) {
	s, _, err := q.Roles.Read(ctx, key, 0, 0)
	if err != nil {
		return store.State{}, err
	}
	return s.SetSubscribed(subscribed, time.Now())
}

type cancelIgnoresRevision struct{ Roles }

func (q cancelIgnoresRevision) CancelUnsubscribed(ctx context.Context, key store.Key, _ uint64) (store.State, error) {
	return q.Roles.CancelUnsubscribed(ctx, key, current(ctx, q.Roles, key).Watch)
}
