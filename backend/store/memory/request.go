package memory

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// record is a request with everything that belongs to it.
type record struct {
	state       store.State
	lease       time.Time // when the claim expires; zero: it is not valid
	untilVoided bool      // the claim is valid until VoidLeases
	input       []byte
	metadata    []byte
	checkpoint  []byte
	segments    []segment
	end         *store.End
	key         *idempotencyKey
}

type segment struct {
	store.Segment
	fence uint64
}

type idempotencyKey struct{ tenant, subject, action, key string }

type cancelKey struct{ tenant, subject, id string }

// Accept implements store.RequestQueue.
func (s *Store) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	if err := ctx.Err(); err != nil {
		return store.Acceptance{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	if r := s.findRecord(n.Key, now); r != nil {
		if err := r.state.CheckDuplicate(&n); err != nil {
			return store.Acceptance{}, err
		}
		return store.Acceptance{State: r.state}, nil
	}
	var key *idempotencyKey
	if n.IdempotencyKey != "" {
		key = &idempotencyKey{n.Tenant, n.Subject, n.Action, n.IdempotencyKey}
		if first, ok := s.keys[*key]; ok {
			if r := s.findRecord(first, now); r != nil {
				if r.state.Hash != n.Hash {
					return store.Acceptance{}, store.ErrIdempotencyConflict
				}
				return store.Acceptance{State: r.state}, nil
			}
		}
	}
	if n.KnownOnly {
		return store.Acceptance{}, store.ErrExpired
	}
	cancel := cancelKey{n.Tenant, n.Subject, n.ID}
	until, cancelled := s.cancels[cancel]
	cancelled = cancelled && now.Before(until)
	delete(s.cancels, cancel)
	r := &record{
		state: store.NewState(&n, now, cancelled), key: key,
		input: bytes.Clone(n.Input), metadata: bytes.Clone(n.Metadata),
	}
	switch {
	case cancelled:
		r.end = store.CancelledEnd()
	case r.state.Status == store.Running:
		r.renewLease(now, n.Claim.Lease)
	}
	if key != nil {
		s.keys[*key] = n.Key
	}
	s.requests[n.Key] = r
	s.index(r)
	return store.Acceptance{State: r.state, Fresh: true}, nil
}

// findRecord returns a request that has not expired, else nil. It deletes an
// expired one.
func (s *Store) findRecord(key store.Key, now time.Time) *record {
	r := s.requests[key]
	if r != nil && r.state.Expired(now, s.opt.Retention) {
		s.forget(r)
		return nil
	}
	return r
}

func (s *Store) forget(r *record) {
	delete(s.requests, r.state.Key)
	delete(s.shard(r), r.state.Key)
	if r.key != nil && s.keys[*r.key] == r.state.Key {
		delete(s.keys, *r.key)
	}
}

// shard returns the part of s.live that the record belongs to.
func (s *Store) shard(r *record) map[store.Key]*record {
	return s.live[store.ShardOf(r.state.Key, len(s.live))]
}

// index adds the record to s.live, or removes it if it has ended.
func (s *Store) index(r *record) {
	live := s.shard(r)
	if r.state.Status.Ended() {
		delete(live, r.state.Key)
	} else {
		live[r.state.Key] = r
	}
}

// renewLease begins or renews the lease. A running request is due when its
// lease expires. A lease of zero never expires; VoidLeases ends it.
func (r *record) renewLease(now time.Time, lease time.Duration) {
	if r.untilVoided = lease == 0; r.untilVoided {
		r.lease, r.state.Due = time.Time{}, time.Time{}
		return
	}
	r.lease = now.Add(lease)
	r.state.Due = store.TruncateMillis(r.lease)
}

// leased reports whether the claim of a running request is valid.
func (r *record) leased(now time.Time) bool { return r.untilVoided || now.Before(r.lease) }

// VoidLeases ends every lease, as opening the file does for a store with one
// owner: running requests can be claimed again, and are due now; no connection
// follows anything. A test calls it when it restarts a server on this store.
func (s *Store) VoidLeases() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	for _, shard := range s.live {
		for _, r := range shard {
			if r.state.Status == store.Running {
				r.lease, r.untilVoided, r.state.Due = time.Time{}, false, store.TruncateMillis(now)
			}
			if r.state.CancelAfter != nil && r.state.UnsubscribedAt.IsZero() {
				r.state, _ = r.state.SetSubscribed(false, now) // requests in live have not ended
			}
		}
	}
}

// withRecord calls f with a request, under the lock. Without a request it returns
// the error missing.
func withRecord[T any](
	ctx context.Context, s *Store, key store.Key, missing error, f func(r *record, now time.Time) (T, error),
) (none T, err error) {
	if err := ctx.Err(); err != nil {
		return none, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	r := s.findRecord(key, now)
	if r == nil {
		return none, missing
	}
	return f(r, now)
}

// Claim implements store.RequestQueue.
func (s *Store) Claim(ctx context.Context, key store.Key, by store.Claimant) (store.ClaimedRequest, error) {
	return withRecord(ctx, s, key, store.ErrNotFound, func(r *record, now time.Time) (store.ClaimedRequest, error) {
		next, err := r.state.Claim(by, now, r.leased(now))
		if err != nil {
			return store.ClaimedRequest{State: r.state}, err
		}
		r.state = next
		r.renewLease(now, by.Lease)
		return store.ClaimedRequest{
			State: r.state, Input: bytes.Clone(r.input), Metadata: bytes.Clone(r.metadata), Checkpoint: bytes.Clone(r.checkpoint),
		}, nil
	})
}

// Record implements store.RequestQueue.
func (s *Store) Record(ctx context.Context, f store.Fence, report store.Report) (store.State, error) {
	return withRecord(ctx, s, f.Key, store.ErrFenced, func(r *record, now time.Time) (store.State, error) {
		next, repeated, err := r.state.Record(f.Fence, &report)
		if err == nil {
			err = r.apply(next, repeated, f.Fence, &report)
		}
		if err != nil {
			return store.State{}, err
		}
		r.renewLease(now, f.Lease)
		return r.state, nil
	})
}

// apply stores the bodies of a report, then the state that covers them.
func (r *record) apply(next store.State, repeated bool, fence uint64, report *store.Report) error {
	g := report.Segment
	switch {
	case repeated && !r.hasSegment(fence, g):
		return r.state.OverlapError(g)
	case repeated:
		r.state = next
		return nil
	case g != nil:
		r.segments = append(r.segments, cloneSegment(g, fence))
	}
	if report.Checkpoint != nil {
		r.checkpoint = append([]byte{}, report.Checkpoint...)
	}
	r.state = next
	return nil
}

func (r *record) hasSegment(fence uint64, g *store.Segment) bool {
	return slices.ContainsFunc(r.segments, func(have segment) bool {
		return have.fence == fence && have.First == g.First && have.Last == g.Last
	})
}

func cloneSegment(g *store.Segment, fence uint64) segment {
	out := segment{store.Segment{First: g.First, Last: g.Last, Events: slices.Clone(g.Events)}, fence}
	for i := range out.Events {
		out.Events[i].Data = bytes.Clone(out.Events[i].Data)
	}
	return out
}

// Finish implements store.RequestQueue.
func (s *Store) Finish(ctx context.Context, f store.Fence, o store.Outcome) (store.State, error) {
	return withRecord(ctx, s, f.Key, store.ErrFenced, func(r *record, now time.Time) (store.State, error) {
		next, end, repeated, again, err := r.state.Finish(f.Fence, &o, now)
		switch {
		case err != nil:
			return store.State{}, err
		case again && end != nil && !r.end.Equal(end):
			return store.State{}, store.ErrFenced
		case again:
			return r.state, nil
		}
		if err := r.apply(next, repeated, f.Fence, &o.Report); err != nil {
			return store.State{}, err
		}
		if end != nil {
			e := *end
			e.Payload = bytes.Clone(end.Payload)
			r.end = &e
		}
		s.index(r)
		return r.state, nil
	})
}

// Cancel implements store.RequestQueue.
func (s *Store) Cancel(ctx context.Context, key store.Key, subject string) (store.State, error) {
	if err := ctx.Err(); err != nil {
		return store.State{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	r := s.findRecord(key, now)
	switch {
	case r == nil && store.CancelRetained(key.ID, now):
		s.cancels[cancelKey{key.Tenant, subject, key.ID}] = now.Add(store.CancelRetention)
		return store.State{}, store.ErrNotFound
	case r == nil, r.state.Subject != subject:
		return store.State{}, store.ErrNotFound
	}
	next, end, err := r.state.Cancel(now)
	return s.step(r, next, end, err)
}
