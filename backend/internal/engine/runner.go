package engine

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// runner runs one handler: it makes its context, recovers its panics, ends its
// context in time, and detects that it ignores that. It does not use the store. Its
// methods are safe for concurrent use.
type runner struct {
	action *core.Action
	in     any
	call   core.Call
	ctx    runContext
	// grace is how long after the end of its context the handler is waited for.
	grace time.Duration
	owner runnerOwner

	// What follows belongs to the lock of ctx.

	// timer is for the threshold, and then for the context's deadline.
	timer, graceTimer *time.Timer
	// cause is why the context was ended, if it was ended before its deadline.
	cause error
	// started says that run was called, returned that the handler has returned, or
	// never runs.
	started, returned bool
	// returnedCh is closed when the handler returns; nil: no goroutine waits.
	returnedCh chan struct{}
}

// runnerOwner is called by a runner.
type runnerOwner interface {
	onThreshold()    // the call has taken longer than its threshold
	onUnresponsive() // the handler ignores the end of its context
	// onReturned takes what the handler returned, and why its context had ended by
	// then; nil: it had not. A timer that has fired already may still call one of the
	// others.
	onReturned(out []byte, err, cause error)
}

// init prepares a run whose context ends after the timeout, or at the call's
// deadline.
func (r *runner) init(action *core.Action, in any, call core.Call, timeout time.Duration) {
	r.action, r.in, r.call = action, in, call
	info := &r.call.Info
	end, cause := time.Now().Add(timeout), core.ErrTimeout
	if info.Deadline.Before(end) {
		end, cause = info.Deadline, core.ErrDeadline
	}
	r.ctx.info, r.ctx.deadline, r.ctx.overdue = info, end, cause
}

var errGoexit = errors.New("the handler ended its goroutine")

// run calls the handler on this goroutine, and then its owner, even if the handler
// panics or ends its goroutine. Threshold is when the owner is called; 0: never. The
// handler's context ends when parent does. A run that was given up before does
// nothing.
func (r *runner) run(parent context.Context, threshold time.Duration) {
	if !r.startRun(parent, threshold) {
		return
	}
	if parent.Done() != nil {
		stop := context.AfterFunc(parent, func() { r.cancel(context.Cause(parent)) })
		defer stop()
	}
	var out []byte
	err := errGoexit
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		} else {
			err = sanitize(err)
		}
		r.owner.onReturned(out, err, r.handlerReturned())
	}()
	out, err = r.action.Run(&r.ctx, r.in, &r.call)
}

// startRun sets the context's parent and the timer, unless the run was given up.
func (r *runner) startRun(parent context.Context, threshold time.Duration) bool {
	if threshold <= 0 {
		threshold = math.MaxInt64
	}
	r.ctx.mu.Lock()
	defer r.ctx.mu.Unlock()
	if r.returned {
		return false
	}
	r.ctx.parent, r.started = parent, true
	r.timer = time.AfterFunc(min(threshold, time.Until(r.ctx.deadline)), r.onTimer)
	return true
}

func (r *runner) onTimer() {
	left := time.Until(r.ctx.deadline)
	r.ctx.mu.Lock()
	returned := r.returned
	if !returned && left > 0 {
		r.timer.Reset(left)
	}
	r.ctx.mu.Unlock()
	switch {
	case returned:
	case left <= 0:
		r.cancel(r.ctx.overdue)
	default:
		r.owner.onThreshold()
	}
}

// cancel ends the handler's context, and bounds by grace how long the handler is
// waited for. The first cause is what why returns, even if the handler had returned
// before it came.
func (r *runner) cancel(cause error) {
	r.ctx.mu.Lock()
	defer r.ctx.mu.Unlock()
	if r.cause == nil {
		r.cause = cause
	}
	if r.returned {
		return
	}
	r.ctx.end(cause)
	if r.graceTimer == nil {
		r.graceTimer = time.AfterFunc(r.grace, r.owner.onUnresponsive)
	}
}

// handlerReturned notes that the handler has returned, and returns why its context
// had ended by then.
func (r *runner) handlerReturned() error {
	r.ctx.mu.Lock()
	defer r.ctx.mu.Unlock()
	r.finish()
	return r.cause
}

// finish frees what the run holds. The lock is held.
func (r *runner) finish() {
	r.returned = true
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.graceTimer != nil {
		r.graceTimer.Stop()
	}
	if r.returnedCh != nil {
		close(r.returnedCh)
	}
	if cause := r.ctx.close(); r.cause == nil {
		r.cause = cause
	}
}

// why is the first cause of cancel, or why the context has ended otherwise; nil: it
// has not.
func (r *runner) why() error {
	r.ctx.mu.Lock()
	defer r.ctx.mu.Unlock()
	if r.cause == nil && !r.returned {
		return r.ctx.cause()
	}
	return r.cause
}

// stopWaiting gives up a run that has not begun: it never will, and handler is nil.
// A handler that runs goes on; then handler is closed when it returns. Ok is false if
// it has returned.
func (r *runner) stopWaiting() (handler <-chan struct{}, ok bool) {
	r.ctx.mu.Lock()
	defer r.ctx.mu.Unlock()
	if r.returned {
		return nil, false
	}
	if !r.started {
		r.finish()
		return nil, true
	}
	if r.returnedCh == nil {
		r.returnedCh = make(chan struct{})
	}
	return r.returnedCh, true
}
