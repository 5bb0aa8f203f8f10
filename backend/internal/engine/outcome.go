package engine

import (
	"errors"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/store"
)

// verdict is all that an attempt's outcome is decided by.
type verdict struct {
	// out and err are what the handler returned, err sanitized; cause is why its
	// context ended.
	out   []byte
	err   error
	cause error
	// fatal is what ended the attempt for good: Sink.Fail.
	fatal    error
	failures int
	// last says that the call cannot be stored, so no other attempt follows.
	last     bool
	action   *core.Action
	now      time.Time
	deadline time.Time
}

// outcome decides how an attempt ended. It is a pure function but for the
// jitter of the backoff.
func (v *verdict) outcome() store.Outcome {
	switch {
	case v.fatal != nil:
		return ended(failed(v.fatal))
	case v.err == nil:
		return ended(&store.End{Status: store.Succeeded, Payload: v.out})
	case errors.Is(v.cause, core.ErrCancelled):
		return ended(store.CancelledEnd())
	case errors.Is(v.cause, core.ErrDeadline):
		return ended(&store.End{Status: store.Failed, Code: core.CodeDeadlineExceeded, Message: "the call's time is over"})
	case errors.Is(v.cause, core.ErrTimeout):
		return v.failure(&core.Error{Code: core.CodeTimeout, Message: "the attempt ran longer than it may"}, 0, false)
	}
	if again := (*core.ContinueError)(nil); errors.As(v.err, &again) {
		return store.Outcome{Due: v.now.Add(max(0, again.After)), Code: core.CodeContinue}
	}
	if last := (*core.PermanentError)(nil); errors.As(v.err, &last) {
		return ended(failed(v.err))
	}
	sendAgain := v.last && errors.Is(v.cause, core.ErrShutdown)
	if later := (*core.RetryAfterError)(nil); errors.As(v.err, &later) && !sendAgain {
		return v.failure(v.err, max(0, later.After), true)
	}
	// A handler that gave way to a shutdown has not failed.
	switch {
	case errors.Is(v.cause, core.ErrShutdown):
		return store.Outcome{Due: v.now, Code: core.CodeShutdown}
	case errors.Is(v.cause, core.ErrHandover):
		return store.Outcome{Due: v.now, Code: core.CodeHandover}
	}
	return v.failure(v.err, 0, false)
}

// failure charges a failure: another attempt if one is left and the deadline
// leaves time for it, else the end.
func (v *verdict) failure(err error, after time.Duration, own bool) store.Outcome {
	end := failed(err)
	if !own {
		after = v.action.Backoff.Delay(v.failures + 1)
	}
	due := v.now.Add(after)
	if v.last || v.failures >= v.action.Retries || !due.Before(v.deadline) {
		end.DeadLetter = v.action.Retries > 0
		o := ended(end)
		o.Failure = true
		return o
	}
	return store.Outcome{Due: due, Code: end.Code, Failure: true}
}

func ended(end *store.End) store.Outcome { return store.Outcome{End: end} }

// failed makes the end for an error. Only the text of a core.Error is meant
// for the caller; any other becomes "the handler failed".
func failed(err error) *store.End {
	end := &store.End{Status: store.Failed, Code: core.CodeInternal, Message: "the handler failed; see the server's log for this id"}
	var own *core.Error
	var panicked *panicError
	switch {
	case errors.As(err, &panicked):
		end.Code, end.Message = core.CodeHandlerPanic, "the handler panicked; see the server's log for this id"
	case errors.As(err, &own) && core.ValidCode(own.Code):
		end.Code, end.Message, end.Retryable = own.Code, core.CutText(own.Message, core.MaxErrorText), own.Retryable
		if core.ValidDetails(own.Details) {
			end.Payload = own.Details
		}
	}
	return end
}
