package engine

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// runner runs one handler: it makes its context, recovers its panics, ends its
// context in time, and finds out when it ignores that. It knows no store. Its
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
	cause    error
	returned bool
	// left is closed when the handler returns; nil: nobody waits.
	left chan struct{}
}

// runnerOwner is called by a runner's timers, but not once the handler has
// returned.
type runnerOwner interface {
	onThreshold()    // the call has taken longer than its threshold
	onUnresponsive() // the handler ignores the end of its context
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

// run calls the handler on this goroutine. Threshold is when onThreshold is
// called; 0: never. The handler's context ends when parent does. Cause is why it
// had ended when the handler returned; nil: it had not.
func (r *runner) run(parent context.Context, threshold time.Duration) (out []byte, err, cause error) {
	r.startRun(parent, threshold)
	if parent.Done() != nil {
		stop := context.AfterFunc(parent, func() { r.cancel(context.Cause(parent)) })
		defer stop()
	}
	err = errGoexit
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
		cause = r.onReturned()
	}()
	out, err = r.action.Run(&r.ctx, r.in, &r.call)
	return out, err, nil
}

// startRun sets the context's parent, and the timer.
func (r *runner) startRun(parent context.Context, threshold time.Duration) {
	if threshold <= 0 {
		threshold = math.MaxInt64
	}
	r.ctx.mu.Lock()
	defer r.ctx.mu.Unlock()
	r.ctx.parent = parent
	r.timer = time.AfterFunc(min(threshold, time.Until(r.ctx.deadline)), r.onTimer)
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

// cancel ends the handler's context; the first cause counts, also one that comes
// after the handler has returned. From now on the handler is waited for no longer
// than grace.
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

// onReturned notes that the handler has returned, and returns why its context
// had ended by then.
func (r *runner) onReturned() error {
	r.ctx.mu.Lock()
	defer r.ctx.mu.Unlock()
	r.returned = true
	r.timer.Stop()
	if r.graceTimer != nil {
		r.graceTimer.Stop()
	}
	if r.left != nil {
		close(r.left)
	}
	if cause := r.ctx.close(); r.cause == nil {
		r.cause = cause
	}
	return r.cause
}

// closeUnrun frees what belongs to a run that does not happen.
func (r *runner) closeUnrun() {
	r.ctx.mu.Lock()
	defer r.ctx.mu.Unlock()
	r.returned = true
	if r.graceTimer != nil {
		r.graceTimer.Stop()
	}
	_ = r.ctx.close()
}

// why is why the context has ended, or was to end; nil: it has not.
func (r *runner) why() error {
	r.ctx.mu.Lock()
	defer r.ctx.mu.Unlock()
	if r.cause == nil && !r.returned {
		return r.ctx.cause()
	}
	return r.cause
}

// handler returns a channel that is closed when the handler returns; nil: it has
// returned.
func (r *runner) handler() <-chan struct{} {
	r.ctx.mu.Lock()
	defer r.ctx.mu.Unlock()
	if r.returned {
		return nil
	}
	if r.left == nil {
		r.left = make(chan struct{})
	}
	return r.left
}
