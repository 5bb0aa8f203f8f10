package cli

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pay-theory/streamer/client-go"
)

// Exit codes. They are a promise to scripts: see description.
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
	// text is what went wrong; empty: it was said already.
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

// usage is a failure of whoever wrote the command line.
func usage(text, hint string) *failure { return &failure{exit: exitUsage, text: text, hint: hint} }

// failureOf makes a failure of any error.
func failureOf(err error) *failure {
	var f *failure
	var e *client.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &e):
		return answered(e)
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return &failure{exit: exitInterrupted, text: "interrupted", err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{exit: exitUnavailable, text: "the server did not answer in time", err: err}
	}
	return failed(clean(err.Error()), "", nil)
}

// answered makes a failure of an error that has a code.
func answered(e *client.Error) *failure {
	text := clean(e.Code) + ": " + clean(e.Message)
	hint := hintOf(e)
	if e.Code == client.CodeNotFound {
		hint = "check the id; only its owner sees a call, and it is kept for days after its end, not for ever"
	}
	if e.Field != "" {
		text += " (at " + clean(e.Field) + ")"
	}
	return &failure{exit: exitOf(e.Code), text: text, hint: hint, err: e}
}

// hintOf turns the sentence of a hint into a part of ours.
func hintOf(e *client.Error) string {
	hint := strings.TrimSuffix(clean(e.Hint), ".")
	r, n := utf8.DecodeRuneInString(hint)
	if next, _ := utf8.DecodeRuneInString(hint[n:]); unicode.IsUpper(next) {
		return hint // an abbreviation
	}
	return string(unicode.ToLower(r))[:min(len(hint), n)] + hint[n:]
}

// exitOf is the exit code of an error code that did not come as the end of a
// stored call.
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

// ended makes a failure of the error that ended a call. A stored call has
// failed or was cancelled, whatever word its handler chose: the codes of
// refusals mean what they say only before the call was stored.
func ended(e *client.Error, stored bool) *failure {
	f := answered(e)
	switch {
	case e.Code == client.CodeCancelled:
		f.hint = ""
	case stored && e.Final, f.exit == exitFailed:
		f.exit, f.hint = exitFailed, ""
		f.text += " (call " + e.CallID + ")" // by which the server's log tells more
	}
	return f
}
