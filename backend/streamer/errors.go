package streamer

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// Error is an error whose code and message are meant for the caller. Its Cause,
// if any, is only logged. Code is snake_case, 1 to 64 characters,
// beginning with a letter; Field is a JSON Pointer into the payload; Details is
// JSON; Retryable reports that calling again can help. Only Code is
// needed.
//
// An Error does not stop retries: wrap it in [Permanent] for that.
type Error = core.Error

// Errorf returns an error for the caller. The whole text reaches the caller,
// that of an error formatted with %w included; such an error is also the Cause.
// An invalid code (see [Error]) becomes "internal", and the text is only logged.
func Errorf(code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	if !core.ValidCode(code) {
		return &Error{Code: core.CodeInternal, Message: "internal error", Cause: fmt.Errorf("%q is not an error code: %w", code, err)}
	}
	return &Error{Code: code, Message: err.Error(), Cause: errors.Unwrap(err)}
}

// Permanent marks an error after which another attempt cannot help: the call fails
// at once, regardless of Retry. A nil err, or a nil pointer in it, becomes nil.
func Permanent(err error) error {
	if isNil(err) {
		return nil
	}
	return &core.PermanentError{Err: err}
}

// RetryAfter sets the minimum time before the next attempt, in place of the
// action's Backoff. It is charged against Retry like any other error. A nil err,
// or a nil pointer in it, becomes nil; a negative time counts as 0.
func RetryAfter(after time.Duration, err error) error {
	if isNil(err) {
		return nil
	}
	return &core.RetryAfterError{After: max(after, 0), Err: err}
}

// isNil reports whether err is nil, or holds a nil pointer.
func isNil(err error) bool {
	v := reflect.ValueOf(err)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// Continue requests another attempt after some time, without charging a retry:
// return it after a Checkpoint to continue later, or in another process. What the
// attempt emitted since its last checkpoint is discarded. A negative time counts
// as 0.
func Continue(after time.Duration) error {
	return &core.ContinueError{After: max(after, 0)}
}

// Why a handler's context ended: [context.Cause] returns one of these, or an
// error that wraps it.
var (
	// ErrCancelled: the call was cancelled.
	ErrCancelled = core.ErrCancelled
	// ErrTimeout: the attempt has used up the action's [Timeout].
	ErrTimeout = core.ErrTimeout
	// ErrDeadline: the call's deadline, which includes queueing, has passed.
	ErrDeadline = core.ErrDeadline
	// ErrShutdown: the server shuts down. The call runs again elsewhere, without
	// spending a retry.
	ErrShutdown = core.ErrShutdown
	// ErrHandover: the work goes to another worker, without spending a retry.
	ErrHandover = core.ErrHandover
	// ErrFenced: another worker has claimed the call. What this attempt still
	// reports is lost.
	ErrFenced = core.ErrFenced
	// ErrSuperseded: another run of the same id was stored first.
	ErrSuperseded = core.ErrSuperseded
	// ErrUnstored: the call ran inline, had to be stored, and could not be.
	ErrUnstored = core.ErrUnstored
)
