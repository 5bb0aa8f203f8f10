package engine

import (
	"context"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// runContext is the context of an attempt. Most handlers that return soon ask it
// for nothing but their Info, so the contexts of the standard library, with their
// channels, timers and children, are made when something else is asked for. It is
// safe for concurrent use. (Decision 0009 has the measurement.)
type runContext struct {
	parent   context.Context
	info     *core.Info
	deadline time.Time
	// overdue is the cause of its end at the deadline.
	overdue error

	mu sync.Mutex // also the runner's
	// over is why it was ended before its deadline; nil: it was not.
	over error
	// real is nil until it is needed; cancel and stop end it.
	real   context.Context
	cancel context.CancelCauseFunc
	stop   context.CancelFunc
}

var _ context.Context = (*runContext)(nil)

// Deadline implements context.Context.
func (c *runContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done implements context.Context.
func (c *runContext) Done() <-chan struct{} { return c.context().Done() }

// Err implements context.Context.
func (c *runContext) Err() error {
	c.mu.Lock()
	alive := c.real == nil && c.over == nil
	c.mu.Unlock()
	if alive && c.parent.Err() == nil && time.Now().Before(c.deadline) {
		return nil
	}
	return c.context().Err()
}

// Value implements context.Context. The functions of package context get the
// values of the real one, so that children and causes work as usual.
func (c *runContext) Value(key any) any {
	if core.IsInfoKey(key) {
		return c.info
	}
	return c.context().Value(key)
}

// context returns the real one.
func (c *runContext) context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real == nil {
		var ctx context.Context
		ctx, c.cancel = context.WithCancelCause(core.WithInfo(c.parent, c.info))
		if c.over != nil {
			c.cancel(c.over)
		}
		c.real, c.stop = context.WithDeadlineCause(ctx, c.deadline, c.overdue)
	}
	return c.real
}

// end ends it; the first cause counts. The end at the deadline comes by itself.
// The lock is held.
func (c *runContext) end(cause error) {
	switch {
	case cause == c.overdue: //nolint:errorlint // it is this package's own, unwrapped
	case c.real != nil:
		c.cancel(cause)
	case c.over == nil && time.Now().Before(c.deadline):
		c.over = cause
	}
}

// close ends it and frees what it holds, because the handler has returned. It
// returns why it had ended before; nil: it had not. The lock is held.
func (c *runContext) close() (cause error) {
	cause = c.cause()
	c.end(context.Canceled)
	if c.real != nil {
		c.stop()
	}
	return cause
}

// cause is why it has ended; nil: it has not. The lock is held.
func (c *runContext) cause() error {
	switch {
	case c.real != nil:
		return context.Cause(c.real)
	case c.over != nil:
		return c.over
	case c.parent == nil: // the run has not begun
		return nil
	case c.parent.Err() == nil && !time.Now().Before(c.deadline):
		return c.overdue
	}
	return context.Cause(c.parent)
}
