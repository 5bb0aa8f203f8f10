package storetest

import (
	"bytes"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// model is the expected content of a store in the simplest form: a stream is
// everything that was ever written, and marks say which part of it is
// discarded.
type model struct {
	requests []*request
	cancels  map[string]time.Time
}

type request struct {
	state      store.State
	key        string // its idempotency key
	input      string
	checkpoint []byte
	// leased reports that the lease of the newest claim is valid.
	leased bool
	chunks map[uint64]store.Event
	marks  []store.AttemptMark
	end    *store.Event
	// newest repeats the newest step under a fence.
	newest func(q store.RequestQueue) (store.State, error)
}

// stream returns the events after a position: for each seq, the newest mark
// that covers it, else the event with that seq.
func (r *request) stream(after uint64) (events []store.Event) {
	for p := after; p < r.state.LastSeq; {
		e := r.chunks[p+1]
		switch {
		case p == 0:
			e = store.Event{Kind: store.Ack, Seq: 1}
		case r.end != nil && r.end.Seq == p+1:
			e = *r.end
		}
		for _, m := range r.marks {
			if m.From <= p+1 && p+1 <= m.Seq {
				e = m.Event()
			}
		}
		events = append(events, e)
		p = e.Seq
	}
	return events
}

func (r *request) finish(status store.Status, code string, now time.Time, e store.Event) {
	r.state, r.leased = ended(r.state, status, code, now), false
	e.Seq = r.state.LastSeq
	r.end = &e
}

// cancel flags a running request and ends a queued one.
func (r *request) cancel(now time.Time) {
	r.state.CancelRequested = true
	if r.state.Status == store.Queued {
		r.finish(store.Cancelled, "cancelled", now, cancelledEvent)
	}
}

// setSubscribed records whether connections follow the request.
func (r *request) setSubscribed(subscribed bool, now time.Time) {
	r.state.Watch++
	switch {
	case subscribed:
		r.state.UnsubscribedAt = time.Time{}
	case r.state.CancelAfter != nil && r.state.UnsubscribedAt.IsZero():
		r.state.UnsubscribedAt = store.TruncateMillis(now)
	}
}

var cancelledEvent = store.Event{Kind: store.Error, Code: "cancelled", Message: "the call was cancelled"}

func earlier(a, b time.Time) time.Time { return slices.MinFunc([]time.Time{a, b}, time.Time.Compare) }

func later(a, b time.Time) time.Time { return slices.MaxFunc([]time.Time{a, b}, time.Time.Compare) }

// queued returns the state of a request that was accepted now and not claimed.
func queued(n *store.Request, now time.Time) store.State {
	deadline := store.TruncateMillis(n.Deadline)
	return store.State{
		Key: n.Key, Subject: n.Subject, Action: n.Action, Hash: n.Hash, Status: store.Queued, Accepted: store.TruncateMillis(now),
		Deadline: deadline, Due: earlier(store.TruncateMillis(later(now, n.NotBefore)), deadline), RetryOf: n.RetryOf, CancelAfter: n.CancelAfter,
		LastSeq: 1, Keep: 1, Progress: n.Progress, Connection: n.Connection,
	}
}

// ended returns the state after an end.
func ended(s store.State, status store.Status, code string, now time.Time) store.State {
	s.LastSeq++
	s.Status, s.Code, s.Due, s.Ended = status, code, time.Time{}, store.TruncateMillis(now)
	return s
}

// find returns the first request that matches, else nil.
func (m *model) find(matches func(s *store.State, key string) bool) *request {
	i := slices.IndexFunc(m.requests, func(r *request) bool { return matches(&r.state, r.key) })
	if i < 0 {
		return nil
	}
	return m.requests[i]
}

func (m *model) submit(n *store.Request, now time.Time) (r *request, err error, fresh bool) {
	if r := m.find(func(s *store.State, _ string) bool { return s.ID == n.ID }); r != nil {
		if r.state.Subject != n.Subject || r.state.Action != n.Action || r.state.Hash != n.Hash {
			return nil, store.ErrConflict, false
		}
		return r, nil, false
	}
	first := m.find(func(s *store.State, key string) bool {
		return key != "" && key == n.IdempotencyKey && s.Subject == n.Subject && s.Action == n.Action
	})
	if first != nil {
		if first.state.Hash != n.Hash {
			return nil, store.ErrIdempotencyConflict, false
		}
		return first, nil, false
	}
	r = &request{key: n.IdempotencyKey, input: string(n.Input), chunks: map[uint64]store.Event{}, state: queued(n, now)}
	if n.Claim != nil && !n.NotBefore.After(now) {
		r.state.Status, r.state.Fence, r.state.Attempt, r.state.Due, r.leased = store.Running, 1, 1, time.Time{}, true
	}
	cancel := n.Subject + n.ID
	if until, ok := m.cancels[cancel]; ok && now.Before(until) {
		delete(m.cancels, cancel)
		r.state.Status, r.state.Fence, r.state.Attempt = store.Queued, 0, 0
		r.cancel(now)
	} else if n.CancelAfter != nil && n.Connection == "" {
		r.state.UnsubscribedAt = store.TruncateMillis(now)
	}
	m.requests = append(m.requests, r)
	return r, nil, true
}

// apply applies a report, after which the state is s, to the model.
func (r *request) apply(report store.Report, s store.State) {
	r.state = s
	if report.Segment != nil {
		for _, e := range report.Segment.Events {
			if e.Kind == store.Chunk {
				r.chunks[e.Seq] = e
			}
		}
	}
	if report.Checkpoint != nil {
		r.checkpoint = bytes.Clone(report.Checkpoint)
	}
}
