package engine

import (
	"context"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// life is the context of an attempt. Most handlers that are quick ask it for
// nothing but their Info: so the standard library's contexts that it consists
// of, with their channels, timers and children, are made when something else is
// asked for. It is safe for concurrent use.
type life struct {
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

var _ context.Context = (*life)(nil)

// Deadline implements context.Context.
func (l *life) Deadline() (time.Time, bool) { return l.deadline, true }

// Done implements context.Context.
func (l *life) Done() <-chan struct{} { return l.context().Done() }

// Err implements context.Context.
func (l *life) Err() error {
	l.mu.Lock()
	alive := l.real == nil && l.over == nil
	l.mu.Unlock()
	if alive && l.parent.Err() == nil && time.Now().Before(l.deadline) {
		return nil
	}
	return l.context().Err()
}

// Value implements context.Context. Who asks for the values of package context
// itself, as its functions do, gets those of the real one: children and causes
// are as they always are.
func (l *life) Value(key any) any {
	if core.IsInfoKey(key) {
		return l.info
	}
	return l.context().Value(key)
}

// context returns the real one.
func (l *life) context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.real == nil {
		var ctx context.Context
		ctx, l.cancel = context.WithCancelCause(core.WithInfo(l.parent, l.info))
		if l.over != nil {
			l.cancel(l.over)
		}
		l.real, l.stop = context.WithDeadlineCause(ctx, l.deadline, l.overdue)
	}
	return l.real
}

// end ends it; the first cause counts. With overdue nothing is done: that end
// comes by itself.
func (l *life) end(why error) {
	if why == l.overdue { //nolint:errorlint // it is ours, unwrapped
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over == nil {
		l.over = why
	}
	if l.real != nil {
		l.cancel(why)
	}
}

// close ends it and frees what it holds, for the handler has returned.
func (l *life) close() {
	l.end(context.Canceled)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.real != nil {
		l.stop()
	}
}

// cause is why it has ended; nil if it has not.
func (l *life) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.real != nil:
		return context.Cause(l.real)
	case l.over != nil:
		return l.over
	}
	return context.Cause(l.parent)
}
