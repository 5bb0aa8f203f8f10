package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

func TestOutcomes(t *testing.T) {
	boom := errors.New("boom")
	own := &core.Error{Code: "no_funds", Message: "not enough money"}
	const none = -1
	cases := []struct {
		name     string
		v        verdict
		status   store.Status // empty: queued again
		code     string
		charged  bool
		after    time.Duration // none: by the backoff
		deadLett bool
	}{
		{"a result", verdict{}, store.Succeeded, "", false, 0, false},
		{"a result in spite of a cancel", verdict{cause: core.ErrCancelled}, store.Succeeded, "", false, 0, false},
		{"an error, no retries", verdict{err: boom, failures: 2}, store.Failed, core.CodeInternal, true, 0, true},
		{"an error, retries left", verdict{err: boom}, "", core.CodeInternal, true, none, false},
		{"an error of its own", verdict{err: fmt.Errorf("pay: %w", own)}, "", "no_funds", true, none, false},
		{"a permanent one", verdict{err: &core.PermanentError{Err: own}}, store.Failed, "no_funds", false, 0, false},
		{"one that names its time", verdict{err: &core.RetryAfterError{After: time.Hour, Err: boom}}, "", core.CodeInternal, true, time.Hour, false},
		{"continue", verdict{err: &core.ContinueError{After: time.Minute}}, "", core.CodeContinue, false, time.Minute, false},
		{"a panic", verdict{err: recovered("boom")}, "", core.CodeHandlerPanic, true, none, false},
		{"cancelled", verdict{err: context.Canceled, cause: core.ErrCancelled}, store.Cancelled, core.CodeCancelled, false, 0, false},
		{"cancelled while it asked to continue", verdict{err: &core.ContinueError{}, cause: core.ErrCancelled}, store.Cancelled, core.CodeCancelled, false, 0, false},
		{"an attempt's timeout", verdict{err: context.DeadlineExceeded, cause: core.ErrTimeout}, "", core.CodeTimeout, true, none, false},
		{"the last attempt's timeout", verdict{err: context.DeadlineExceeded, cause: core.ErrTimeout, failures: 2}, store.Failed, core.CodeTimeout, true, 0, true},
		{"the call's deadline", verdict{err: context.DeadlineExceeded, cause: core.ErrDeadline}, store.Failed, core.CodeDeadlineExceeded, false, 0, false},
		{"a shutdown", verdict{err: context.Canceled, cause: core.ErrShutdown, failures: 2}, "", core.CodeShutdown, false, 0, false},
		{"a handover", verdict{err: context.Canceled, cause: core.ErrHandover, failures: 2}, "", core.CodeHandover, false, 0, false},
		{"fatal", verdict{fatal: own}, store.Failed, "no_funds", false, 0, false},
		{"no time left for another attempt", verdict{err: &core.RetryAfterError{After: 3 * time.Hour, Err: own}}, store.Failed, "no_funds", true, 0, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.v.action = &core.Action{Retries: 2, Backoff: core.Backoff{Base: time.Second, Max: time.Minute}}
			c.v.now, c.v.deadline = zero, zero.Add(2*time.Hour)
			o := c.v.outcome()
			require.Equal(t, c.charged, o.Failure)
			if c.status == "" {
				require.Nil(t, o.End)
				require.Equal(t, c.code, o.Code)
				if c.after == none {
					require.WithinRange(t, o.Due, zero, zero.Add(time.Second))
				} else {
					require.Equal(t, c.after, o.Due.Sub(zero))
				}
				return
			}
			require.Equal(t, c.status, o.End.Status)
			require.Equal(t, c.code, o.End.Code)
			require.Equal(t, c.deadLett, o.End.DeadLetter)
			require.NotContains(t, o.End.Message, "boom", "only the text of a streamer.Error reaches the wire")
		})
	}
}

// What a handler says of its failure is bounded, and what is no JSON is not
// sent as such.
func TestErrorsAreBounded(t *testing.T) {
	open, closed := strings.Repeat("[", 60), strings.Repeat("]", 60)
	for details, kept := range map[string]bool{
		`{"a":`: false, "\"\xff\"": false, `{"a":"]]"}`: true, `["` + open + `"]`: true,
		open + closed: true, "[" + open + closed + "]": false,
	} {
		end := failed(&core.Error{Code: "x", Message: strings.Repeat("ü", 1<<20), Details: []byte(details)})
		require.LessOrEqual(t, len(end.Message), core.MaxErrorText)
		require.Equal(t, kept, end.Payload != nil, details)
	}
}
