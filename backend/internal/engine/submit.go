package engine

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/store"
)

// Request is a call that somebody asks for. It was judged: the action exists,
// the caller may call it, the payload is right.
type Request struct {
	store.Key
	Subject    string
	Connection string
	Action     *core.Action
	// In is Payload, decoded.
	In       any
	Payload  []byte
	Metadata []byte
	// Sync forbids promotion, Async has the call stored first.
	Sync, Async    bool
	Timeout        time.Duration
	Delay          time.Duration
	CancelAfter    *time.Duration
	IdempotencyKey string
	// KnownOnly: the id is too old for a new call.
	KnownOnly bool
	RetryOf   string
	// Share is what the tenant holds of Options.MaxInline. Nil: nobody's.
	Share *quota.Share
}

// StoredFirst tells whether the call is stored before it runs.
func (r *Request) StoredFirst(threshold time.Duration) bool {
	switch {
	case r.Async, r.KnownOnly, r.IdempotencyKey != "", r.Delay > 0, r.CancelAfter != nil, r.Action.Placement == core.Async:
		return true
	case r.Sync, r.Action.Placement == core.Sync, r.Action.Expect == nil:
		return false
	}
	return r.Action.Expect(r.In) >= threshold
}

// promotable tells whether an inline run of the call may be stored.
func (r *Request) promotable() bool { return !r.Sync && r.Action.Placement != core.Sync }

// attemptTimeout is how long one attempt may take.
func (r *Request) attemptTimeout() time.Duration {
	if r.promotable() {
		return r.Action.Timeout
	}
	return min(r.Action.Timeout, core.SyncTimeout)
}

func (r *Request) new(accepted, deadline time.Time) store.New {
	n := store.New{
		Key: r.Key, Subject: r.Subject, Action: r.Action.Name, Input: r.Payload, Metadata: r.Metadata,
		Hash: store.Hash(r.Action.Name, r.Payload), IdempotencyKey: r.IdempotencyKey, Deadline: deadline,
		CancelAfter: r.CancelAfter, Connection: r.Connection, RetryOf: r.RetryOf, KnownOnly: r.KnownOnly,
	}
	if r.Delay > 0 {
		n.NotBefore = accepted.Add(r.Delay)
	}
	return n
}

func (r *Request) info(accepted, deadline time.Time) core.Info {
	return core.Info{
		ID: r.ID, Action: r.Action.Name, Tenant: r.Tenant, Subject: r.Subject, Attempt: 1,
		Metadata: r.Metadata, Accepted: accepted, Deadline: deadline,
	}
}

// AnswerKind is how a request was answered.
type AnswerKind uint8

// Kinds of answers.
const (
	// Inline: End is the answer; nothing was stored.
	Inline AnswerKind = iota
	// Accepted: the call is durable as of State, and the caller follows it.
	Accepted
	// Known: the call, or the one under its idempotency key, was there
	// already; the caller follows it.
	Known
	// Refused: Err says why.
	Refused
)

// Answer is a request's first answer.
type Answer struct {
	Kind  AnswerKind
	End   *store.End
	State store.State
	Err   *core.Error
	// Final tells that the refused id will never come to anything.
	Final bool
}

func refused(code, text string, final bool) Answer {
	return Answer{Kind: Refused, Err: &core.Error{Code: code, Message: text}, Final: final}
}

// refusal is the answer to a request that the store refused.
func refusal(err error) Answer {
	switch {
	case errors.Is(err, store.ErrConflict):
		return refused(core.CodeConflict, "the id is in use for another call", true)
	case errors.Is(err, store.ErrIdempotencyConflict):
		return refused(core.CodeIdempotencyConflict, "the idempotency key is in use for another payload", true)
	case errors.Is(err, store.ErrExpired):
		return refused(core.CodeExpiredID, "the id is older than the retention; it may have run and been forgotten", true)
	}
	return refused(core.CodeUnavailable, "the call could not be stored; send it again", false)
}

// Submit sees a request through on the caller's goroutine: it may return at
// once, or when the handler has. answer is called exactly once, from any
// goroutine, before anything else is told of the call.
func (e *Engine) Submit(r *Request, answer func(Answer)) {
	now := time.Now()
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = e.DefaultTimeout
	}
	deadline := now.Add(r.Delay + timeout)
	w := waiter{deliver.Address{Tenant: r.Tenant, Connection: r.Connection}, answer}
	if r.StoredFirst(e.Threshold) {
		e.accept(r, w, now, deadline)
		return
	}
	e.runInline(r, w, now, deadline)
}

// known tells whether a call was stored: then it is never run inline again.
func (e *Engine) known(k store.Key) (bool, error) {
	if s, ok := e.Store.(store.Absenter); ok && s.Absent(k) {
		return false, nil
	}
	_, _, err := e.Store.Read(e.ctx, k, 0, 0)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// runInline runs a call that is not stored, or joins the one that does.
func (e *Engine) runInline(r *Request, w waiter, now, deadline time.Time) {
	if !e.inlineCalls.Take(r.Share, 1) {
		w.answer(refused(core.CodeOverloaded, "too many calls are running", false))
		return
	}
	a := e.newAttempt(r.Action, r.Key, r.In, r.info(now, deadline), r.attemptTimeout())
	a.request, a.waiters = r, []waiter{w}
	e.mu.Lock()
	other, known := e.inline[r.Key], e.running[r.Key] != nil || e.entering[r.Key] != nil
	stopping := e.stopping.Load()
	if other == nil && !known && !stopping {
		e.inline[r.Key] = a
	}
	e.mu.Unlock()
	if other != nil || known || stopping {
		e.inlineCalls.Give(r.Share, 1)
		a.discard()
		switch {
		case stopping:
			w.answer(refused(core.CodeUnavailable, "the server is shutting down", false))
		case other != nil && e.join(other, r, w):
		case other != nil:
			// That run is over, or stored, and about to leave: look again.
			runtime.Gosched()
			e.runInline(r, w, now, deadline)
		default:
			// It was stored, or is about to be: the store knows whether it is
			// the same call.
			e.accept(r, w, now, deadline)
		}
		return
	}
	// Whoever sends the id again joins from now on; so nothing of it can come
	// into the store unseen, and this is the time to look there.
	if stored, err := e.known(r.Key); stored || err != nil {
		e.withdraw(a, err, now, deadline)
		return
	}
	if e.missed.take(owned{r.Key, r.Subject}, now) {
		if r.promotable() {
			// The store remembers the cancel, too: there it is met before the
			// handler starts.
			e.withdraw(a, nil, now, deadline)
			return
		}
		a.end(core.ErrCancelled)
	}
	if r.promotable() {
		a.wind(e.Threshold)
	}
	a.run()
}

// withdraw takes back an inline call before it has run: it was stored, or the
// store could not be asked.
func (e *Engine) withdraw(a *attempt, err error, now, deadline time.Time) {
	a.mu.Lock()
	a.phase = settled
	waiters := a.waiters
	a.moved.Broadcast()
	a.mu.Unlock()
	e.remove(a)
	e.inlineCalls.Give(a.request.Share, 1)
	a.discard()
	for _, w := range waiters {
		if err != nil {
			w.answer(refusal(err))
		} else {
			e.accept(a.request, w, now, deadline)
		}
	}
}

// discard frees an attempt that never ran.
func (a *attempt) discard() {
	a.mu.Lock()
	a.returned = true
	a.mu.Unlock()
	a.free()
}

// join adds a waiter to an inline run of the same id. It returns false when
// that run is stored or over.
func (e *Engine) join(a *attempt, r *Request, w waiter) bool {
	a.mu.Lock()
	for a.phase == promoting {
		a.moved.Wait()
	}
	if a.phase != inline {
		a.mu.Unlock()
		return false
	}
	same := a.request.Subject == r.Subject && a.action == r.Action && string(a.request.Payload) == string(r.Payload)
	if same {
		a.waiters = append(a.waiters, w)
	}
	a.mu.Unlock()
	if !same {
		w.answer(refused(core.CodeConflict, "the id is in use for another call", true))
	}
	return true
}

// accept stores a call; with a free worker it is born claimed and runs here.
func (e *Engine) accept(r *Request, w waiter, now, deadline time.Time) {
	if r.CancelAfter != nil && !e.abandon.hasRoom(r.Key) {
		w.answer(refused(core.CodeOverloaded, "too many calls wait to be cancelled when nobody follows them", false))
		return
	}
	e.mu.Lock()
	for a := e.inline[r.Key]; a != nil; a = e.inline[r.Key] {
		e.mu.Unlock()
		if e.join(a, r, w) {
			return
		}
		e.mu.Lock()
	}
	if e.stopping.Load() {
		e.mu.Unlock()
		w.answer(refused(core.CodeUnavailable, "the server is shutting down", false))
		return
	}
	claim := r.Delay <= 0 && !r.KnownOnly && e.slots > 0 && e.schedule.waiting == 0
	if claim {
		e.slots--
	}
	e.enter(r.Key)
	e.mu.Unlock()

	n := r.new(now, deadline)
	if claim {
		n.Claim = e.claimant(false)
	}
	got, err := e.Store.Accept(e.ctx, n)
	runs := err == nil && got.Fresh && got.State.Status == store.Running
	if claim && !runs {
		e.freeSlot()
	}
	if err != nil {
		e.entered(r.Key, nil)
		w.answer(refusal(err))
		if claim && errors.Is(err, store.ErrUnavailable) {
			e.unsure(store.Hint{Key: r.Key})
		}
		return
	}
	e.follow(w.from, r.Subject, got.State.ID)
	if !got.Fresh {
		e.entered(r.Key, nil)
		w.answer(Answer{Kind: Known, State: got.State})
		return
	}
	if r.CancelAfter != nil && !got.State.Status.Ended() {
		e.abandon.add(r.Key, *r.CancelAfter)
	}
	w.answer(Answer{Kind: Accepted, State: got.State})
	switch {
	case runs:
		// Whoever was woken to send the ack goes first: it is due now.
		runtime.Gosched()
		a := e.newAttempt(r.Action, r.Key, r.In, r.info(got.State.Accepted, got.State.Deadline), r.Action.Timeout)
		a.claimed(&got.State)
		e.entered(r.Key, a)
		a.run()
	case got.State.Status.Ended():
		e.entered(r.Key, nil)
		e.Teller.Events(e.ctx, &got.State, store.CancelledEnd().Event(got.State.LastSeq))
	default:
		e.entered(r.Key, nil)
		e.push(hintOf(&got.State))
	}
}

// claimed makes the attempt one that runs under a claim and holds a slot.
func (a *attempt) claimed(s *store.State) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slot, a.phase = true, stored
	a.begin(s)
}

// unsure puts back into the queue a call that may have been claimed, or born
// claimed, by a write whose reply was lost: nobody runs it, and no lease will
// run out where the store has one owner. The hint is from before that claim. It
// returns false if nothing is to be done; else it will push the hint, if it says
// when.
func (e *Engine) unsure(h store.Hint) bool {
	e.mu.Lock()
	yes := e.Lease == 0 && !e.givingUp
	if yes {
		e.settled.Add(1)
	}
	e.mu.Unlock()
	if yes {
		go e.makeSure(h)
	}
	return yes
}

func (e *Engine) makeSure(h store.Hint) {
	defer e.settled.Done()
	var state store.State
	err := e.persist(func(ctx context.Context) (err error) {
		switch runs, enters := e.runs(h.Key); {
		case runs:
			return store.ErrFenced
		case enters:
			return store.ErrUnavailable // what comes of it will be seen
		}
		f := store.Fence{Key: h.Key, Fence: h.Fence + 1}
		state, err = e.Store.Finish(ctx, f, store.Outcome{Due: time.Now(), Code: core.CodeWorkerLost})
		return err
	})
	switch {
	case err == nil && !state.Status.Ended():
		e.push(hintOf(&state))
	case err != nil && !h.At.IsZero():
		e.push(h) // it was not claimed
	}
}

// follow makes a connection follow a call, if there is one.
func (e *Engine) follow(a deliver.Address, subject, id string) {
	if a.Connection == "" {
		return
	}
	if err := e.Teller.Follow(e.ctx, a, subject, id, true); err != nil {
		e.Logger.Warn("a caller could not be made to follow its call", "id", id, "error", err)
	}
}

func (e *Engine) claimant(alone bool) *store.Claimant {
	return &store.Claimant{Worker: e.Worker, Lease: e.Lease, Alone: alone}
}

func hintOf(s *store.State) store.Hint {
	return store.Hint{
		Key: s.Key, At: s.Due, Status: s.Status, Action: s.Action, Deadline: s.Deadline, Deaths: s.Deaths,
		Fence: s.Fence, CancelAfter: s.CancelAfter,
	}
}
