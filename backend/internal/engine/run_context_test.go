package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/stretchr/testify/require"
)

var errParent = errors.New("the engine is closed")

// ordinary is what a runContext must not be told from.
func ordinary(parent context.Context, info *core.Info, deadline time.Time, overdue error) (ctx context.Context, end context.CancelCauseFunc, closed func()) {
	ctx, end = context.WithCancelCause(core.WithInfo(parent, info))
	ctx, stop := context.WithDeadlineCause(ctx, deadline, overdue)
	return ctx, end, func() {
		end(context.Canceled)
		stop()
	}
}

// A runContext, asked at any time, answers as the contexts of the standard
// library do, and so do its children.
func TestRunContextIsAContext(t *testing.T) {
	ends := map[string]func(parent context.CancelCauseFunc, end func(error), closed func()){
		"alive": func(context.CancelCauseFunc, func(error), func()) {},
		"ended": func(_ context.CancelCauseFunc, end func(error), _ func()) {
			end(core.ErrCancelled)
			end(core.ErrShutdown)
		},
		"deadline": func(context.CancelCauseFunc, func(error), func()) { time.Sleep(2 * time.Second) },
		"closed":   func(_ context.CancelCauseFunc, _ func(error), closed func()) { closed() },
		"parent":   func(parent context.CancelCauseFunc, _ func(error), _ func()) { parent(errParent) },
		"ended, then the deadline": func(_ context.CancelCauseFunc, end func(error), _ func()) {
			end(core.ErrCancelled)
			time.Sleep(2 * time.Second)
		},
		"the deadline, then closed": func(_ context.CancelCauseFunc, _ func(error), closed func()) {
			time.Sleep(2 * time.Second)
			closed()
		},
	}
	for name, bring := range ends {
		for _, early := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				info, deadline := &core.Info{ID: "x"}, time.Now().Add(time.Second)
				parent, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				lazy := &runContext{parent: parent, info: info, deadline: deadline, overdue: core.ErrTimeout}
				plain, end, closed := ordinary(parent, info, deadline, core.ErrTimeout)
				defer closed()
				defer lazy.close()
				if early {
					ask(lazy)
				}
				require.Equal(t, early, lazy.real != nil)
				bring(cancel, func(why error) {
					lazy.end(why)
					end(why)
				}, func() {
					lazy.close()
					closed()
				})
				synctest.Wait()
				want := ask(plain)
				require.Equal(t, want.cause, lazy.cause(), "%s, early %v", name, early)
				require.Equal(t, want, ask(lazy), "%s, early %v", name, early)
				got, _ := core.InfoFrom(lazy)
				require.Same(t, info, got)
			})
		}
	}
}

// contextAnswers are what a context and its children say.
type contextAnswers struct {
	err, cause, childErr, childCause error
	done, childDone, called          bool
	deadline                         time.Time
}

// ask asks a context all that it can be asked.
func ask(ctx context.Context) contextAnswers {
	child, cancel := context.WithCancel(ctx)
	called := make(chan struct{})
	stop := context.AfterFunc(child, func() { close(called) })
	synctest.Wait()
	a := contextAnswers{err: ctx.Err(), cause: context.Cause(ctx), childErr: child.Err(), childCause: context.Cause(child)}
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	a.done, a.childDone, a.called = closed(ctx.Done()), closed(child.Done()), closed(called)
	a.deadline, _ = ctx.Deadline()
	stop()
	cancel()
	return a
}

// A handler that asks for nothing but its info costs no context.
func TestRunContextIsLazy(t *testing.T) {
	c := &runContext{parent: t.Context(), info: &core.Info{}, deadline: time.Now().Add(time.Hour), overdue: core.ErrTimeout}
	_, ok := core.InfoFrom(c)
	require.True(t, ok)
	_, ok = c.Deadline()
	require.True(t, ok)
	require.NoError(t, c.Err())
	require.NoError(t, c.cause())
	require.Nil(t, c.real)
	c.end(core.ErrCancelled)
	c.close()
	require.Nil(t, c.real)
	require.ErrorIs(t, c.Err(), context.Canceled)
	require.Equal(t, core.ErrCancelled, context.Cause(c))
}
