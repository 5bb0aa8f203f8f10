package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/store"
)

// phase is how far an attempt has come. The transitions are
//
//	inline → promoting → stored → decided
//	inline, promoting → decided
//
// and only transition makes them; an attempt that was claimed begins as stored.
type phase uint8

const (
	inline    phase = iota // it runs, and is not stored
	promoting              // its call is being stored
	stored                 // it runs under its fence
	decided                // its outcome is decided, or it never runs
)

// Attempt is one run of a handler. Its methods are safe for concurrent use.
//
// Lock order: an attempt's lock, then its runner's. No other lock of the engine is
// taken, the store is not called and no message is sent while one of them is held.
type Attempt struct {
	e      *Engine
	key    store.Key
	runner runner
	// request is an inline call's; nil: it was stored before it ran.
	request *Request
	// release gives the dispatcher its worker back; nil: it reserved none.
	release func(handler <-chan struct{})

	mu sync.Mutex
	// changed is signalled when phase or unchecked changes.
	changed sync.Cond
	phase   phase
	// unchecked says that it is not known yet whether the call of an inline attempt
	// was stored before: then this attempt never runs.
	unchecked bool
	// cancelled says that a cancel of an inline call was acknowledged.
	cancelled bool
	// callers wait for the answer of an inline call: its own, and those that joined
	// it. It is empty when they were answered.
	callers []caller
	// reporter is made when it is needed: most inline calls report nothing.
	reporter *reporter
	// fatal is what Sink.Fail was called with.
	fatal    error
	fence    store.Fence
	failures int
	deadline time.Time // the whole call's
	// done takes what Engine.Run returns; nil: the attempt is not Engine.Run's, and
	// what comes next is handed to the dispatcher.
	done chan Ran
}

// caller is a request for an inline call.
type caller struct {
	request *Request
	reply   func(Answer)
}

// newAttempt returns an attempt whose context carries info and ends, with the
// right cause, after the timeout or at the call's deadline.
func (e *Engine) newAttempt(action *core.Action, key store.Key, in any, info core.Info, timeout time.Duration) *Attempt {
	a := &Attempt{e: e, key: key, deadline: info.Deadline}
	a.changed.L = &a.mu
	info.Correlation, info.Report = key.ID, a.Progress
	a.runner.init(action, in, core.Call{Info: info, Sink: a}, timeout)
	a.runner.grace, a.runner.owner = e.CancelGrace, a
	return a
}

// claimed takes over what the store says of a claimed call, before other
// goroutines know the attempt: no lock is needed.
func (a *Attempt) claimed(s *store.State) {
	a.phase = stored
	a.setClaim(s)
	a.reporter = newReporter(a.e, a.key, s.Attempt, a)
	a.reporter.start(s, a.fence)
	a.reporter.startTimer()
}

// setClaim takes over a claim. No other goroutine reads these fields before the
// phase is stored, so no lock is needed.
func (a *Attempt) setClaim(s *store.State) {
	a.fence = store.Fence{Key: s.Key, Fence: s.Fence, Lease: a.e.Lease}
	a.failures, a.deadline = s.Failures, s.Deadline
}

// Run runs the handler on this goroutine, and sees its outcome through. If ctx
// ends, the handler's context ends with the same cause, which decides the outcome
// (ErrHandover, ErrShutdown). If Stop has decided the outcome before, the handler
// does not run.
func (a *Attempt) Run(ctx context.Context) {
	threshold := time.Duration(0)
	if a.request != nil {
		defer a.e.inlineCalls.Release(a.request.Share, 1)
		if a.request.promotable() {
			threshold = a.e.Threshold
		}
	}
	a.runner.run(ctx, threshold)
}

// onReturned implements runnerOwner.
func (a *Attempt) onReturned(out []byte, err, cause error) {
	a.decideOutcome(verdict{out: out, err: err, cause: cause}, nil)
}

// reports returns the attempt's reporter.
func (a *Attempt) reports() *reporter {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reporter == nil {
		a.reporter = newReporter(a.e, a.key, a.runner.call.Info.Attempt, a)
	}
	return a.reporter
}

// log returns a logger that names the call.
func (a *Attempt) log() *slog.Logger {
	info := &a.runner.call.Info
	return a.e.Logger.With("id", a.key.ID, "action", info.Action, "tenant", a.key.Tenant, "attempt", info.Attempt)
}

// cancel ends the handler's context; the first cause counts.
func (a *Attempt) cancel(cause error) { a.runner.cancel(cause) }

func (a *Attempt) onThreshold() { a.promote() }

func (a *Attempt) onCancelled() { a.cancel(core.ErrCancelled) }

// onFenced ends the handler's context. The attempt holds its worker until the
// handler has returned, or has ignored that for the grace period.
func (a *Attempt) onFenced(err error) {
	a.log().Warn("the attempt lost its claim", "error", err)
	a.cancel(core.ErrFenced)
}

// awaitPromotion waits while another goroutine promotes. The lock is held.
func (a *Attempt) awaitPromotion() {
	for a.phase == promoting {
		a.changed.Wait()
	}
}

// transition moves from one phase to another, and reports whether the attempt was
// in the first. Only the goroutine that promotes moves on from promoting; others
// wait until it has. A verdict, if there is one, is completed in the same step.
func (a *Attempt) transition(from, to phase, v *verdict) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if from != promoting {
		a.awaitPromotion()
	}
	if a.phase != from {
		return false
	}
	if v != nil {
		a.fill(v)
	}
	a.phase = to
	a.changed.Broadcast()
	return true
}

// awaitInline waits until it is known whether the call is inline, and reports that.
// The lock is held.
func (a *Attempt) awaitInline() bool {
	for a.phase == promoting || a.phase == inline && a.unchecked {
		a.changed.Wait()
	}
	return a.phase == inline
}

// markChecked notes that the call was not stored before.
func (a *Attempt) markChecked() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unchecked = false
	a.changed.Broadcast()
}

// join adds a request with the same id to an inline call, whose answer it gets. It
// returns false if the call is not inline, or is no longer.
func (a *Attempt) join(r *Request, reply func(Answer)) (Submission, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !a.awaitInline():
		return Submission{}, false
	case !a.request.isSame(r):
		return answered(refused(core.CodeConflict, "the id is in use for another call", true)), true
	}
	a.callers = append(a.callers, caller{r, reply})
	return Submission{}, true
}

// cancelInline ends the context of an inline call of the subject, and reports
// whether it is one. A promotion that begins later stores the cancel.
func (a *Attempt) cancelInline(subject string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.awaitInline() || a.request.Subject != subject {
		return false
	}
	a.cancelled = true
	a.cancel(core.ErrCancelled)
	return true
}

func (a *Attempt) isCancelled() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cancelled
}

// abort decides an unchecked attempt, which never runs, and frees what it holds. It
// returns false if Stop has decided it before, and so has answered its caller.
func (a *Attempt) abort() bool {
	defer a.releaseUnrun()
	if !a.transition(inline, decided, nil) {
		return false
	}
	a.e.calls.removeAttempt(a)
	return true
}

// releaseUnrun frees what an attempt holds that never runs.
func (a *Attempt) releaseUnrun() {
	_, _ = a.runner.stopWaiting()
	a.e.inlineCalls.Release(a.request.Share, 1)
}

// takeCallers returns the callers that wait for the answer of an inline call.
func (a *Attempt) takeCallers() []caller {
	a.mu.Lock()
	defer a.mu.Unlock()
	callers := a.callers
	a.callers = nil
	return callers
}

// onUnresponsive finishes an attempt whose handler does not return, or was not
// called before the engine was stopped.
func (a *Attempt) onUnresponsive() {
	cause := a.runner.why()
	handler, ok := a.runner.stopWaiting()
	if !ok {
		return
	}
	if cause == nil { // Stop has not reached it yet
		cause = core.ErrShutdown
		a.cancel(cause)
	}
	if a.decideOutcome(verdict{err: cause, cause: cause}, handler) && handler != nil {
		a.log().Warn("a handler ignores the end of its context", "cause", cause)
	}
}

// decideOutcome decides the outcome, and writes it or answers with it; the first
// call counts, and returns true. Handler is closed when the handler returns; nil: it
// has returned, or never runs.
func (a *Attempt) decideOutcome(v verdict, handler <-chan struct{}) bool {
	if a.request != nil {
		a.complete(&v)
		o := v.outcome() // for an inline answer; a stored call's is decided below
		if o.End == nil && a.request.promotable() {
			a.promote()
		}
		if a.transition(inline, decided, nil) {
			a.logOutcome(&v, &o)
			a.answerInline(&v, &o)
			return true
		}
	}
	if !a.transition(stored, decided, &v) {
		return false
	}
	o := v.outcome()
	if o.End == nil && a.isCancelled() {
		o = ended(store.CancelledEnd()) // in case the cancel could not be stored
	}
	a.logOutcome(&v, &o)
	a.finish(o, handler)
	return true
}

// complete adds the attempt's state to a verdict.
func (a *Attempt) complete(v *verdict) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.awaitPromotion()
	a.fill(v)
}

// fill adds the attempt's state to a verdict. The lock is held.
func (a *Attempt) fill(v *verdict) {
	v.fatal, v.failures, v.deadline, v.action, v.now = a.fatal, a.failures, a.deadline, a.runner.action, time.Now()
	v.last = a.request != nil && !a.request.promotable()
}

// answerInline answers the callers of an inline call.
func (a *Attempt) answerInline(v *verdict, o *store.Outcome) {
	answer := Answer{Kind: Ended, End: o.End}
	if o.End == nil {
		answer = lastOutcome(v)
	}
	a.e.calls.removeAttempt(a)
	for _, c := range a.takeCallers() {
		c.reply(answer)
	}
}

// lastOutcome is the answer of a call that cannot be stored and has no attempt
// left.
func lastOutcome(v *verdict) Answer {
	if errors.Is(v.cause, core.ErrShutdown) {
		return stopping()
	}
	return Answer{Kind: Ended, End: failed(v.err)}
}

// finish writes the outcome and publishes it.
func (a *Attempt) finish(o store.Outcome, handler <-chan struct{}) {
	var next store.Hint
	report, events, ok := a.reporter.close()
	if ok {
		o.Report = report
		next = a.write(o, events)
	} else {
		a.reporter.closeFeed()
	}
	a.e.calls.removeAttempt(a)
	if a.done != nil {
		a.done <- Ran{Next: next, Handler: handler}
		return
	}
	if a.release != nil {
		a.release(handler)
	}
	if !next.Due.IsZero() {
		a.e.Dispatcher.Enqueue(next)
	}
}

// write returns the hint for the next attempt, if there is one.
func (a *Attempt) write(o store.Outcome, events []store.Event) (next store.Hint) {
	var state store.State
	err := a.e.persist(func(ctx context.Context) (err error) {
		state, err = a.e.Store.Finish(ctx, a.fence, o)
		return err
	})
	a.reporter.closeFeed()
	if err != nil {
		a.log().Error("an outcome could not be written; the call is run again when its lease has expired or the server restarts", "error", err)
		return store.Hint{}
	}
	if state.Status.Ended() {
		events = append(events, endOf(&o).Event(state.LastSeq))
	} else {
		next = state.Hint()
	}
	a.e.Notifier.Publish(a.e.ctx, &state, events...)
	return next
}

// endOf is the end that an outcome came to, which ended its request.
func endOf(o *store.Outcome) *store.End {
	if o.End == nil {
		return store.CancelledEnd() // a retry met the cancel flag
	}
	return o.End
}

func (a *Attempt) logOutcome(v *verdict, o *store.Outcome) {
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
