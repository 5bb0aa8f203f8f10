package cli

import (
	"context"
	"errors"

	"github.com/pay-theory/streamer/client-go"
)

// Exit codes. Scripts rely on them; see description.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitCancelled   = 3
	exitUnavailable = 4
	exitNotFound    = 5
	exitRefused     = 6
	exitInterrupted = 130
)

// failure ends the program: one line for people, and a code for scripts.
type failure struct {
	exit int
	// text is what went wrong; empty: it was printed already.
	text string
	// hint is what to do about it.
	hint string
	err  error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.err }

// failed is a failure of the command's own work.
func failed(text, hint string, err error) *failure {
	if err != nil {
		text += ": " + clean(err.Error())
	}
	return &failure{exit: exitFailed, text: text, hint: hint, err: err}
}

// outputFailure is a failure to write to standard output, or nil.
func outputFailure(err error) error {
	if err == nil {
		return nil
	}
	return failed("standard output", "", err)
}

// usageFailure is a mistake in the command line.
func usageFailure(text, hint string) *failure {
	return &failure{exit: exitUsage, text: text, hint: hint}
}

// failureOf makes a failure of any error.
func failureOf(err error) *failure {
	var f *failure
	var e *client.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &e):
		return codedFailure(e)
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return &failure{exit: exitInterrupted, text: "interrupted", err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{exit: exitUnavailable, text: "the server did not answer in time", err: err}
	}
	return failed(clean(err.Error()), "", nil)
}

// codedFailure makes a failure of an error that has a code.
func codedFailure(e *client.Error) *failure {
	text := clean(e.Code) + ": " + clean(e.Message)
	hint := clean(e.Hint)
	if e.Code == client.CodeNotFound {
		hint = "check the id; only the owner of a call sees it, and a call is deleted some days after its end"
	}
	if e.Field != "" {
		text += " (at " + clean(e.Field) + ")"
	}
	return &failure{exit: exitOf(e.Code), text: text, hint: hint, err: e}
}

// exitOf returns the exit code for an error that is not the end of a stored
// call.
func exitOf(code string) int {
	switch code {
	case client.CodeCancelled:
		return exitCancelled
	case client.CodeUnavailable, client.CodeOverloaded, client.CodeNotStreamer:
		return exitUnavailable
	case client.CodeNotFound:
		return exitNotFound
	case client.CodeUnauthorized, client.CodeTokenExpired, client.CodeReconnectRequired, client.CodeOriginRefused,
		client.CodeForbidden, client.CodeMalformed, client.CodeInvalidMessage, client.CodeInvalidBatch,
		client.CodeInvalidPayload, client.CodeInvalidCursor, client.CodeUnknownAction, client.CodeModeRefused,
		client.CodeUnsupported, client.CodeExpiredID, client.CodeConflict, client.CodeIdempotencyConflict:
		return exitRefused
	}
	return exitFailed
}

// endFailure makes a failure of the error that ended a call. The codes of
// refusals have their meaning only before the call is stored; a stored call has
// failed or was cancelled, regardless of the code that its handler chose.
func endFailure(e *client.Error, stored bool) *failure {
	f := codedFailure(e)
	switch {
	case e.Code == client.CodeCancelled:
		f.hint = ""
	case stored && e.Final, f.exit == exitFailed:
		f.exit, f.hint = exitFailed, ""
		f.text += " (call " + e.CallID + ")" // to find it in the server's log
	}
	return f
}
