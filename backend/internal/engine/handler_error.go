package engine

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// maxErrorLog bounds the text of a handler's error in the log, in bytes.
const maxErrorLog = 16 << 10

// panicError is a panic of a handler.
type panicError struct {
	value string
	stack []byte
}

func (e *panicError) Error() string { return "panic: " + e.value + "\n" + string(e.stack) }

func recovered(value any) error {
	return &panicError{value: core.CutText(fmt.Sprint(value), maxErrorLog), stack: debug.Stack()}
}

// handlerError is an error of a handler whose methods are this package's.
type handlerError struct {
	text string
	// cause is one of core's errors; nil: it is none that decides an outcome.
	cause error
}

func (e *handlerError) Error() string { return e.text }

func (e *handlerError) Unwrap() error { return e.cause }

// sanitize takes from an error of a handler what decides the outcome and what is
// logged. The methods of the error are the user's, and may panic, as those of a nil
// pointer do: then the error counts as an internal one.
func sanitize(err error) (out error) {
	if err == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			out = &handlerError{text: core.CutText(fmt.Sprintf("a method of the error, a %T, panicked: %v", err, v), maxErrorLog)}
		}
	}()
	return &handlerError{text: core.CutText(err.Error(), maxErrorLog), cause: decisive(err)}
}

// decisive returns the error of core that decides the outcome; nil: there is none.
func decisive(err error) error {
	if again := (*core.ContinueError)(nil); errors.As(err, &again) && again != nil {
		return again
	}
	var cause error
	if own := (*core.Error)(nil); errors.As(err, &own) && own != nil {
		shown := *own
		shown.Cause = nil // its methods are the user's
		cause = &shown
	}
	if last := (*core.PermanentError)(nil); errors.As(err, &last) && last != nil {
		return &core.PermanentError{Err: cause}
	}
	if later := (*core.RetryAfterError)(nil); errors.As(err, &later) && later != nil {
		return &core.RetryAfterError{After: later.After, Err: cause}
	}
	return cause
}
