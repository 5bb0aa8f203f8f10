package engine

import (
	"context"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// runContext is the context of an attempt. Most handlers that are quick ask it for
// nothing but their Info: so the standard library's contexts that it consists
// of, with their channels, timers and children, are made when something else is
// asked for. It is safe for concurrent use.
type runContext struct {
	parent   context.Context
	info     *core.Info
	deadline time.Time
	// overdue is the cause of its end at the deadline.
	overdue error

	mu sync.Mutex
	// over is why it was ended before its deadline; nil: it was not.
	over error
	// real is nil until it is asked for; cancel and stop end it.
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

// Value implements context.Context. Who asks for the values of package context
// itself, as its functions do, gets those of the real one: children and causes
// are as they always are.
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

// end ends it; the first cause counts. With overdue nothing is done: that end
// comes by itself.
func (c *runContext) end(why error) {
	if why == c.overdue { //nolint:errorlint // it is ours, unwrapped
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.real != nil:
		c.cancel(why)
	case c.over == nil && time.Now().Before(c.deadline):
		c.over = why
	}
}

// close ends it and frees what it holds, for the handler has returned.
func (c *runContext) close() {
	c.end(context.Canceled)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real != nil {
		c.stop()
	}
}

// cause is why it has ended; nil if it has not.
func (c *runContext) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.real != nil:
		return context.Cause(c.real)
	case c.over != nil:
		return c.over
	case c.parent.Err() == nil && !time.Now().Before(c.deadline):
		return c.overdue
	}
	return context.Cause(c.parent)
}
