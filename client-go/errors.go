package client

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/session"
	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Error is what a server answered, or what this client found, in place of a
// result. Compare codes, not texts: errors.Is(err, &client.Error{Code:
// client.CodeNotFound}) holds for every error of that code.
type Error struct {
	// Code is one of the codes of the protocol, such as [CodeNotFound], or a
	// word of a handler's own.
	Code string
	// Message is for people.
	Message string
	// Retryable tells that calling anew can help.
	Retryable bool
	// Final tells that nothing more will ever come for the call. When it is
	// false, the call may still be going on.
	Final bool
	// Field names what was wrong: a field of the message, or a JSON Pointer
	// into the payload.
	Field string
	// Hint says what to do about it.
	Hint string
	// RetryAfter is the least time to wait before trying again; 0: none.
	RetryAfter time.Duration
	// Details is JSON that a handler has added; nil: none.
	Details json.RawMessage
	// CallID is the id of the call that failed; empty if it was not a call.
	CallID string
}

// Error returns code and message.
// Error names the code, what was wrong, where, and in which call: by its id
// the server's log tells more.
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

// Is tells whether target is an *Error with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// ErrClosed is what everything fails with once the client was closed. The
// calls themselves go on.
var ErrClosed error = &Error{Code: session.CodeClosed, Message: "the client was closed"}

// ErrDetached is what reading a call fails with after its Detach.
var ErrDetached error = &Error{Code: session.CodeDetached, Message: "the call was detached"}

// DetachedError says that a context ended before the call did. The call goes
// on, and can be followed again by its id; only a request that was never sent
// does not.
type DetachedError struct {
	// CallID is the id to attach to; empty if the request was not even made.
	CallID string
	// Sent is false if the request never left this client.
	Sent bool
	// Err is the context's error.
	Err error
}

// Error names the call and tells what has become of it.
func (e *DetachedError) Error() string {
	if !e.Sent {
		return "the call was not sent: " + e.Err.Error()
	}
	return "call " + e.CallID + " goes on without us: " + e.Err.Error()
}

// Unwrap returns the context's error.
func (e *DetachedError) Unwrap() error { return e.Err }

// errorOf makes an *Error of an error message.
func errorOf(m *wire.ServerMessage, id string) *Error {
	e := &Error{
		Code: m.Code, Message: m.Message, Field: m.Field, Hint: m.Hint, Details: m.Details, CallID: id,
		RetryAfter: time.Duration(m.RetryAfterMs) * time.Millisecond,
	}
	known, ok := wire.Codes[m.Code]
	switch {
	case m.Retryable != nil:
		e.Retryable = *m.Retryable
	case ok:
		e.Retryable = known.Retryable
	}
	e.Final = m.Seq > 0 || m.Final != nil && *m.Final
	if e.Hint == "" {
		e.Hint = known.Hint
	}
	return e
}

// refuse makes the error for a request that breaks a rule before it is sent.
func invalidRequest(field, text string) *Error {
	return &Error{Code: CodeInvalidMessage, Message: text, Field: field, Final: true, Hint: "Mend the request."}
}

// fatal tells whether an error of the Token function ends the client.
func isFatal(err error) bool {
	var e *Error
	return errors.As(err, &e) && wire.Codes[e.Code].Fatal
}
