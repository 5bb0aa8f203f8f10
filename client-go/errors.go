package client

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/session"
	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Error is an error from the server or from this client. Compare codes, not
// texts: errors.Is(err, &client.Error{Code: client.CodeNotFound}) holds for
// every error with that code.
type Error struct {
	// Code is one of the protocol's codes, such as [CodeNotFound], or one that
	// the handler has chosen.
	Code string
	// Message describes the error.
	Message string
	// Retryable is true if calling again can help.
	Retryable bool
	// Final is true if nothing more comes for the call. If it is false, the
	// call may still be running.
	Final bool
	// Field names what was wrong: a field of the message, or a JSON Pointer
	// into the payload.
	Field string
	// Hint says what to do about the error.
	Hint string
	// RetryAfter is the least time to wait before trying again; 0 if there is
	// none.
	RetryAfter time.Duration
	// Details is JSON that the handler has added; nil if there is none.
	Details json.RawMessage
	// CallID is the id of the call that failed; empty if it was not a call.
	CallID string
}

// Error returns the code, the message, the field, and the call's id, with
// which the server's log can be searched.
func (e *Error) Error() string {
	text := e.Code + ": " + e.Message
	if e.Field != "" {
		text += " (at " + e.Field + ")"
	}
	if e.CallID != "" {
		text += " (call " + e.CallID + ")"
	}
	return text
}

// Is says whether target is an *Error with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// ErrClosed is returned by everything once the client is closed. The calls
// continue on the server.
var ErrClosed error = &Error{Code: session.CodeClosed, Message: "the client was closed"}

// ErrDetached is returned when a detached call is read.
var ErrDetached error = &Error{Code: session.CodeDetached, Message: "the call was detached"}

// DetachedError says that a context ended before the call. The call continues,
// and can be followed again by its id; only a request that was never sent does
// not.
type DetachedError struct {
	// CallID is the id to attach to; empty if there was no request yet.
	CallID string
	// Sent is false if the request was never sent.
	Sent bool
	// Err is the context's error.
	Err error
}

// Error returns the call's id and whether the call continues.
func (e *DetachedError) Error() string {
	if !e.Sent {
		return "the call was not sent: " + e.Err.Error()
	}
	return "call " + e.CallID + " continues, but is no longer followed: " + e.Err.Error()
}

// Unwrap returns the context's error.
func (e *DetachedError) Unwrap() error { return e.Err }

// errorOf converts an error message.
func errorOf(m *wire.ServerMessage, id string) *Error {
	known := wire.Codes[m.Code] // nothing is known of a code that the handler has chosen
	e := &Error{
		Code: m.Code, Message: m.Message, Field: m.Field, Hint: cmp.Or(m.Hint, known.Hint), Details: m.Details, CallID: id,
		RetryAfter: time.Duration(m.RetryAfterMs) * time.Millisecond,
		Retryable:  known.Retryable,
		Final:      m.Seq > 0 || m.Final != nil && *m.Final,
	}
	if m.Retryable != nil {
		e.Retryable = *m.Retryable
	}
	return e
}

// invalidRequest returns the error for a request that is not sent because it
// breaks a rule.
func invalidRequest(field, text string) *Error {
	return &Error{Code: CodeInvalidMessage, Message: text, Field: field, Final: true, Hint: "Fix the request."}
}
