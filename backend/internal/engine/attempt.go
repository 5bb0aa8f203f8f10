package engine

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/store"
)

// phase is how far an attempt has come.
type phase uint8

const (
	inline    phase = iota // runs, not stored
	promoting              // is being stored
	stored                 // runs under its fence
	finishing              // the outcome is decided, and being written
	settled                // the outcome is written, answered, or lost
)

// attempt is one run of a handler. Its methods are safe for concurrent use.
type attempt struct {
	e      *Engine
	key    store.Key
	action *core.Action
	in     any
	call   core.Call
	ctx    runContext
	// timer promotes an inline call, and ends the context at its deadline.
	timer *time.Timer
	// release ends other timers that belong to the run.
	release []func()

	mu    sync.Mutex
	moved sync.Cond // phase, flushing or pending changed
	phase phase
	// request and waiters are an inline call's.
	request *Request
	waiters []waiter
	// slot, suspect and deaf are what the attempt holds of the engine.
	slot, suspect, deaf, returned bool
	// waits tells that the context has ended, and the handler is waited for.
	waits bool

	// why is the reason that the engine ended the context for; cause, what the
	// context said of its end when the handler returned.
	why, cause error

	fence    store.Fence
	accepted time.Time
	deadline time.Time
	failures int
	record   record
	fatal    error
	coalesce *deliver.Coalescer
}

// waiter waits for the answer of an inline call.
type waiter struct {
	from   deliver.Address
	answer func(Answer)
}

// newAttempt returns an attempt whose context carries info and ends, with the
// right cause, after the action's timeout or at the call's deadline.
func (e *Engine) newAttempt(action *core.Action, key store.Key, in any, info core.Info, timeout time.Duration) *attempt {
	a := &attempt{e: e, key: key, action: action, in: in}
	a.moved.L = &a.mu
	a.accepted, a.deadline = info.Accepted, info.Deadline
	info.Correlation = key.ID
	info.Report = a.Progress
	a.call = core.Call{Info: info, Sink: a}
	end, cause := time.Now().Add(timeout), core.ErrTimeout
	if info.Deadline.Before(end) {
		end, cause = info.Deadline, core.ErrDeadline
	}
	a.ctx.parent, a.ctx.info, a.ctx.deadline, a.ctx.overdue = e.ctx, &a.call.Info, end, cause
	return a
}

// wind sets the timer: to the context's deadline, or to d if that is earlier.
func (a *attempt) wind(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer = time.AfterFunc(min(d, time.Until(a.ctx.deadline)), a.alarm)
}

// alarm is called by the timer.
func (a *attempt) alarm() {
	left := time.Until(a.ctx.deadline)
	a.mu.Lock()
	if a.returned {
		a.mu.Unlock()
		return
	}
	if left > 0 {
		a.timer.Reset(left)
	}
	promotable := a.request != nil && a.request.promotable()
	a.mu.Unlock()
	switch {
	case left <= 0:
		a.end(a.ctx.overdue)
	case promotable:
		a.promote()
	}
}

// log returns a logger that names the call. It is made when there is something
// to say, which is seldom.
func (a *attempt) log() *slog.Logger {
	return a.e.Logger.With("id", a.key.ID, "action", a.action.Name, "tenant", a.key.Tenant, "attempt", a.call.Info.Attempt)
}

// end ends the context; the first reason counts.
func (a *attempt) end(why error) {
	a.mu.Lock()
	if a.why == nil {
		a.why = why
	}
	a.mu.Unlock()
	a.ctx.end(why)
	a.ended()
}

// reason is why the context has ended; nil if it has not. It is called with
// the lock held.
func (a *attempt) reason() error {
	switch {
	case a.why != nil:
		return a.why
	case a.returned:
		return a.cause
	}
	return a.ctx.cause()
}

// ended has the handler, whose context has ended, waited for no longer than it
// may be deaf.
func (a *attempt) ended() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.returned || a.phase == settled || a.waits {
		return
	}
	a.waits = true
	deaf := time.AfterFunc(a.e.Deaf, a.abandonHandler)
	a.release = append(a.release, func() { deaf.Stop() })
}

var errGoexit = errors.New("the handler ended its goroutine")

// run calls the handler and sees its outcome through.
func (a *attempt) run() {
	if a.timer == nil {
		a.wind(math.MaxInt64)
	}
	var out []byte
	err := errGoexit
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
		a.mu.Lock()
		a.returned, a.cause = true, a.ctx.cause()
		a.mu.Unlock()
		a.free()
		a.settle(out, err)
		a.e.left(a)
	}()
	out, err = a.action.Run(&a.ctx, a.in, &a.call)
}

// free ends the context, for the handler has returned, and its timers.
func (a *attempt) free() {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Lock()
	release := a.release
	a.mu.Unlock()
	for _, f := range release {
		f()
	}
	a.ctx.close()
}

// abandonHandler settles an attempt whose handler does not come back.
func (a *attempt) abandonHandler() {
	a.mu.Lock()
	waiting := !a.returned && a.phase != settled && a.phase != finishing
	lost := !a.returned && a.phase == settled && a.record.lost
	a.deaf = a.deaf || waiting || lost
	cause := a.reason()
	a.mu.Unlock()
	if lost {
		a.log().Warn("a handler ignores that its claim is lost")
		a.e.remove(a) // of what it still held
		return
	}
	if waiting {
		if cause == nil { // nobody has told the handler yet
			cause = core.ErrShutdown
			a.end(cause)
		}
		a.log().Warn("a handler ignores its context's end", "cause", cause)
		a.settle(nil, cause)
	}
}

// settle decides the outcome and brings it about. The first one counts.
func (a *attempt) settle(out []byte, err error) {
	a.mu.Lock()
	for a.phase == promoting {
		a.moved.Wait()
	}
	if a.phase == finishing || a.phase == settled {
		a.mu.Unlock()
		return
	}
	v := verdict{
		out: out, err: err, cause: a.reason(), fatal: a.fatal, failures: a.failures,
		action: a.action, now: time.Now(), deadline: a.deadline,
	}
	o := v.outcome()
	a.logOutcome(&v, &o)
	if a.phase == inline {
		if !a.settleInline(&v, &o) {
			return
		}
		if o.End == nil && errors.Is(a.why, core.ErrCancelled) {
			o = ended(store.CancelledEnd()) // it came while the call was stored
		}
	}
	a.finish(o)
}

// settleInline answers an inline call. It returns true, with the lock held, if
// the call was stored instead because another attempt is to follow. Without
// that the lock is released.
func (a *attempt) settleInline(v *verdict, o *store.Outcome) bool {
	if o.End == nil && a.request.promotable() {
		a.mu.Unlock()
		a.promote()
		a.mu.Lock()
		if a.phase == stored {
			return true
		}
		a.mu.Unlock()
		return false
	}
	answer := Answer{Kind: Inline, End: o.End}
	if o.End == nil {
		answer = lastOutcome(v)
	}
	a.phase = settled
	waiters := a.waiters
	a.mu.Unlock()
	a.e.remove(a)
	for _, w := range waiters {
		w.answer(answer)
	}
	return false
}

// lastOutcome is the answer of a call that cannot be stored and has no attempt
// left.
func lastOutcome(v *verdict) Answer {
	if errors.Is(v.cause, core.ErrShutdown) {
		return refused(core.CodeUnavailable, "the server is shutting down", false)
	}
	return Answer{Kind: Inline, End: failed(v.err)}
}

// finish writes the outcome and tells it. It is called with the lock held, in
// phase stored, and releases it.
func (a *attempt) finish(o store.Outcome) {
	a.phase = finishing
	a.moved.Broadcast()
	for a.record.flushing {
		a.moved.Wait()
	}
	if a.record.lost {
		a.mu.Unlock()
		a.close()
		return
	}
	report, events := a.take()
	a.mu.Unlock()
	o.Report = report
	var state store.State
	err := a.e.persist(func(ctx context.Context) (err error) {
		state, err = a.e.Store.Finish(ctx, a.fence, o)
		return err
	})
	a.coalesce.Close()
	if err != nil {
		a.log().Error("an outcome could not be written; the call will be run again", "error", err)
		a.close()
		return
	}
	if state.Status.Ended() {
		end := o.End
		if end == nil {
			end = store.CancelledEnd() // a retry met the cancel flag
		}
		events = append(events, end.Event(state.LastSeq))
		a.e.abandon.forget(a.key)
	}
	a.e.Teller.Events(a.e.ctx, &state, events...)
	a.close()
	if !state.Status.Ended() {
		a.e.push(hintOf(&state))
	}
}

// close ends an attempt whose outcome is settled.
func (a *attempt) close() {
	a.mu.Lock()
	a.phase = settled
	a.moved.Broadcast()
	a.mu.Unlock()
	a.e.remove(a)
}

// promote stores an inline call under its own lease; it goes on where it is.
func (a *attempt) promote() {
	a.mu.Lock()
	for a.phase == promoting {
		a.moved.Wait()
	}
	if a.phase != inline {
		a.mu.Unlock()
		return
	}
	a.phase = promoting
	n := a.request.new(a.accepted, a.deadline)
	n.Claim = a.e.claimant(false)
	n.Progress = a.record.progress
	a.mu.Unlock()

	got, err := a.e.Store.Accept(a.e.ctx, n)
	if err != nil || !got.Fresh {
		a.unpromoted(err)
		return
	}
	a.e.adopt(a)
	a.mu.Lock()
	a.begin(&got.State)
	waiters := a.waiters
	cancelled := errors.Is(a.why, core.ErrCancelled)
	a.mu.Unlock()
	if cancelled {
		// It was answered ok, and must outlive this process as the call does:
		// nobody learns that the call is stored before that is true. Only the
		// process's own end leaves it to the handler's end, which meets it here.
		err := a.e.persist(func(ctx context.Context) error {
			_, err := a.e.Store.Cancel(ctx, a.key, a.request.Subject)
			return err
		})
		got.State.CancelRequested = got.State.CancelRequested || err == nil
	}
	for _, w := range waiters {
		a.e.follow(w.from, a.request.Subject, a.key.ID)
		w.answer(Answer{Kind: Accepted, State: got.State})
	}
	a.mu.Lock()
	a.waiters = nil
	if got.State.Status.Ended() { // a cancel of the id was remembered
		a.phase = settled
	} else {
		a.phase = stored
	}
	a.moved.Broadcast()
	if p := a.record.progress; p != nil {
		a.coalesce.Report(p)
	}
	a.mu.Unlock()
	if got.State.Status.Ended() {
		a.end(core.ErrCancelled)
		a.e.Teller.Events(a.e.ctx, &got.State, store.CancelledEnd().Event(got.State.LastSeq))
		a.e.remove(a)
	}
}

// unpromoted ends an inline call that could not be stored, or that another run
// of the same id has overtaken.
func (a *attempt) unpromoted(err error) {
	cause, answer := core.ErrSuperseded, refused(core.CodeSuperseded, "another run of this id was stored first", false)
	if err != nil {
		cause, answer = core.ErrUnstored, refusal(err)
		a.log().Warn("a call could not be promoted", "error", err)
	}
	a.end(cause)
	a.mu.Lock()
	a.phase = settled
	waiters := a.waiters
	a.moved.Broadcast()
	a.mu.Unlock()
	a.e.remove(a)
	for _, w := range waiters {
		w.answer(answer)
	}
	if errors.Is(err, store.ErrUnavailable) {
		a.e.unsure(store.Hint{Key: a.key})
	}
}

// begin takes over what the store says of a claimed call. It is called with
// the lock held.
func (a *attempt) begin(s *store.State) {
	a.fence = store.Fence{Key: s.Key, Fence: s.Fence, Lease: a.e.Lease}
	a.failures = s.Failures
	a.accepted, a.deadline = s.Accepted, s.Deadline
	a.record.begin(s)
	a.coalesce = a.e.Teller.Coalesce(a.e.ctx, a.key)
	if a.e.Lease > 0 {
		a.renewEvery(a.e.Lease / 3)
	}
}

// renewEvery renews the lease, by Record, until the attempt is settled.
func (a *attempt) renewEvery(d time.Duration) {
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.phase == stored {
			a.record.renew = true
			a.kick()
			timer.Reset(d)
		}
	})
	a.release = append(a.release, func() { timer.Stop() })
}

func (a *attempt) logOutcome(v *verdict, o *store.Outcome) {
	switch {
	case o.End != nil && o.End.Status == store.Succeeded, errors.Is(v.cause, core.ErrShutdown):
		if a.e.Logger.Enabled(a.e.ctx, slog.LevelDebug) {
			a.log().Debug("attempt ended", "code", o.Code)
		}
	case v.fatal != nil:
		a.log().Warn("attempt ended for good", "error", v.fatal)
	case v.err != nil && o.End == nil:
		a.log().Warn("attempt ended; another follows", "error", v.err, "code", o.Code, "due", o.Due)
	case v.cause == nil:
		a.log().Warn("attempt failed", "error", v.err)
	default:
		a.log().Warn("attempt failed", "error", v.err, "cause", v.cause)
	}
}

var _ core.Sink = (*attempt)(nil)
