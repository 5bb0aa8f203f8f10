package embedded

import (
	"bytes"
	"context"
	"fmt"

	"github.com/pay-theory/streamer/backend/store"
)

// Accept implements store.RequestQueue.
func (s *Store) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	s.idFilter.insert(n.Key) // before it can be stored
	o := &op{name: "accept", size: len(n.Input) + len(n.Metadata), held: n.Claim != nil}
	return writeResult(ctx, s, o, func(w *writer) (store.Acceptance, error) { return w.accept(&n) })
}

func (w *writer) accept(n *store.Request) (store.Acceptance, error) {
	now := w.store.opt.Now()
	if n.IdempotencyKey != "" || n.KnownOnly || w.cache[n.Key] != nil {
		known, err := w.known(n)
		if err != nil || known != nil {
			return answer(known), err
		}
		if n.KnownOnly {
			return store.Acceptance{}, store.ErrExpired
		}
	}
	cancelled, err := w.cancelled(n, now)
	if err != nil {
		return store.Acceptance{}, err
	}
	e := &entry{state: store.NewState(n, now, cancelled), lease: w.store.incarnation, idempotencyKey: n.IdempotencyKey, unwritten: true}
	fresh, err := w.insert(e, n)
	if err != nil {
		return store.Acceptance{}, err
	}
	if !fresh {
		// The id is in use, or its request has expired and must be replaced.
		known, err := w.known(n)
		if err != nil || known != nil {
			return answer(known), err
		}
		if err := w.replace(e, n); err != nil {
			return store.Acceptance{}, err
		}
	}
	if err := w.insertRelated(e, n, cancelled); err != nil {
		return store.Acceptance{}, err
	}
	return store.Acceptance{State: e.state, Fresh: true}, nil
}

func answer(e *entry) store.Acceptance {
	if e == nil {
		return store.Acceptance{}
	}
	return store.Acceptance{State: e.state}
}

// known returns the request that n repeats: the one with its id, else the one
// with its idempotency key; nil if there is none.
func (w *writer) known(n *store.Request) (*entry, error) {
	e, err := w.findRequest(n.Key)
	if err != nil {
		return nil, err
	}
	if e != nil {
		return e, e.state.CheckDuplicate(n)
	}
	if n.IdempotencyKey == "" {
		return nil, nil
	}
	id, err := w.idOfKey(n)
	if err != nil || id == "" {
		return nil, err
	}
	e, err = w.findRequest(store.Key{Tenant: n.Tenant, ID: id})
	if err != nil || e == nil {
		return nil, err
	}
	if e.state.Hash != n.Hash {
		return nil, store.ErrIdempotencyConflict
	}
	return e, nil
}

// insertRelated writes the rows that belong to a new request. A request that is
// claimed when it is accepted, without more to store, gets its row in states
// when that changes.
func (w *writer) insertRelated(e *entry, n *store.Request, cancelled bool) error {
	w.unwrittenRows.accepted(e.n)
	if n.IdempotencyKey != "" {
		if err := w.putKey(n); err != nil {
			return err
		}
	}
	switch {
	case cancelled:
		if err := w.change(change{from: e, to: e.state, lease: e.lease, end: store.CancelledEnd()}); err != nil {
			return err
		}
		return w.deleteCancel(n)
	case e.state.Status == store.Running && e.state.Progress == nil && e.state.UnsubscribedAt.IsZero():
		w.cache.putEntry(e)
		return nil
	}
	c := change{from: e, to: e.state, lease: e.lease}
	if len(n.Input)+len(n.Metadata) <= cacheInput {
		c.input = &input{bytes.Clone(n.Input), bytes.Clone(n.Metadata)}
	}
	return w.change(c)
}

// Claim implements store.RequestQueue.
func (s *Store) Claim(ctx context.Context, key store.Key, by store.Claimant) (store.ClaimedRequest, error) {
	o := &op{name: "claim", held: true}
	return writeResult(ctx, s, o, func(w *writer) (store.ClaimedRequest, error) { return w.claim(key, by) })
}

func (w *writer) claim(k store.Key, by store.Claimant) (store.ClaimedRequest, error) {
	e, err := w.findOrFail(k, store.ErrNotFound)
	if err != nil {
		return store.ClaimedRequest{}, err
	}
	next, err := e.state.Claim(by, w.store.opt.Now(), e.lease == w.store.incarnation)
	if err != nil {
		return store.ClaimedRequest{State: e.state}, err
	}
	work := store.ClaimedRequest{State: next}
	if e.input != nil {
		work.Input, work.Metadata = bytes.Clone(e.input.payload), bytes.Clone(e.input.metadata)
	} else if err := w.bodies(e.n, &work); err != nil {
		return store.ClaimedRequest{}, err
	}
	return work, w.change(change{from: e, to: next, lease: w.store.incarnation, input: e.input})
}

// Record implements store.RequestQueue.
func (s *Store) Record(ctx context.Context, f store.Fence, r store.Report) (store.State, error) {
	o := &op{name: "record", size: sizeOf(&r)}
	return writeResult(ctx, s, o, func(w *writer) (store.State, error) { return w.record(f, &r) })
}

func sizeOf(r *store.Report) int {
	n := len(r.Checkpoint)
	if r.Segment != nil {
		for i := range r.Segment.Events {
			n += len(r.Segment.Events[i].Data)
		}
	}
	return n
}

func (w *writer) record(f store.Fence, r *store.Report) (store.State, error) {
	e, err := w.findOrFail(f.Key, store.ErrFenced)
	if err != nil {
		return store.State{}, err
	}
	next, repeated, err := e.state.Record(f.Fence, r)
	if err != nil {
		return store.State{}, err
	}
	if repeated {
		return e.state, w.repeated(e, f.Fence, r.Segment)
	}
	if err := w.putReport(e.n, f.Fence, r); err != nil {
		return store.State{}, err
	}
	return next, w.change(change{from: e, to: next, lease: e.lease, input: e.inputBut(r.Checkpoint)})
}

// Finish implements store.RequestQueue.
func (s *Store) Finish(ctx context.Context, f store.Fence, o store.Outcome) (store.State, error) {
	size := sizeOf(&o.Report)
	if o.End != nil {
		size += len(o.End.Payload)
	}
	return writeResult(ctx, s, &op{name: "finish", size: size}, func(w *writer) (store.State, error) { return w.finish(f, &o) })
}

func (w *writer) finish(f store.Fence, o *store.Outcome) (store.State, error) {
	e, err := w.findOrFail(f.Key, store.ErrFenced)
	if err != nil {
		return store.State{}, err
	}
	next, end, repeated, again, err := e.state.Finish(f.Fence, o, w.store.opt.Now())
	switch {
	case err != nil:
		return store.State{}, err
	case again:
		return e.state, w.sameEnd(e, end)
	case repeated:
		if err := w.repeated(e, f.Fence, o.Segment); err != nil {
			return store.State{}, err
		}
	default:
		if err := w.putReport(e.n, f.Fence, &o.Report); err != nil {
			return store.State{}, err
		}
	}
	return next, w.change(change{from: e, to: next, lease: e.lease, input: e.inputBut(o.Checkpoint), end: end})
}

// inputBut returns the cached input, unless there is a checkpoint now.
func (e *entry) inputBut(checkpoint []byte) *input {
	if checkpoint != nil {
		return nil
	}
	return e.input
}

// Cancel implements store.RequestQueue.
func (s *Store) Cancel(ctx context.Context, key store.Key, subject string) (store.State, error) {
	missing := false
	state, err := writeResult(ctx, s, &op{name: "cancel"}, func(w *writer) (state store.State, err error) {
		state, missing, err = w.cancel(key, subject)
		return state, err
	})
	if err == nil && missing {
		err = store.ErrNotFound
	}
	return state, err
}

// cancel reports a missing request without an error, because an error would
// roll back the retained cancel.
func (w *writer) cancel(k store.Key, subject string) (state store.State, missing bool, err error) {
	e, err := w.findRequest(k)
	now := w.store.opt.Now()
	switch {
	case err != nil:
		return store.State{}, false, err
	case e == nil && store.CancelRetained(k.ID, now):
		return store.State{}, true, w.putCancel(k, subject, now)
	case e == nil, e.state.Subject != subject:
		return store.State{}, true, nil
	}
	next, end, err := e.state.Cancel(now)
	if err != nil {
		return e.state, false, err
	}
	return next, false, w.stepFrom(e, next, end)
}

// findRequest returns a request; nil if there is none, or it has expired.
func (w *writer) findRequest(k store.Key) (*entry, error) {
	if e := w.cache[k]; e != nil {
		return e, nil
	}
	e, err := w.lookUp(k)
	if err != nil || e == nil {
		return nil, err
	}
	if e.state.Expired(w.store.opt.Now(), w.store.opt.Retention) {
		return nil, nil
	}
	w.cache.putEntry(e)
	return e, nil
}

// findOrFail returns a request, and the error missing if there is none.
func (w *writer) findOrFail(k store.Key, missing error) (*entry, error) {
	e, err := w.findRequest(k)
	if err == nil && e == nil {
		err = missing
	}
	return e, err
}

// sameEnd returns nil if the store holds the end that an outcome repeats.
func (w *writer) sameEnd(e *entry, end *store.End) error {
	if end == nil {
		return nil
	}
	have, err := readEnd(w.selectEnd, e.n, &e.state)
	switch {
	case err != nil:
		return err
	case have == nil:
		return fmt.Errorf("%w: request %s ended without a stored end", ErrCorrupt, e.state.ID)
	case !have.Equal(end):
		return store.ErrFenced
	}
	return nil
}
