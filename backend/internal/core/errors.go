package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Error is an error whose text is meant for the caller: code and message are sent
// only for errors of this type.
type Error struct {
	// Code is a word of snake_case, 1 to 64 characters.
	Code    string
	Message string
	// Field is a JSON Pointer into the payload that was wrong. Optional.
	Field string
	// Details is JSON for the caller. Optional.
	Details json.RawMessage
	// Retryable reports that calling again can help.
	Retryable bool
	// Cause is logged and never sent. Optional.
	Cause error
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Cause)
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// PermanentError marks an error after which another attempt cannot help.
type PermanentError struct{ Err error }

func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns what was made permanent.
func (e *PermanentError) Unwrap() error { return e.Err }

// RetryAfterError is a failure with its own delay before the next attempt.
type RetryAfterError struct {
	After time.Duration
	Err   error
}

func (e *RetryAfterError) Error() string { return e.Err.Error() }

// Unwrap returns the failure.
func (e *RetryAfterError) Unwrap() error { return e.Err }

// ContinueError requests another attempt without charging a retry.
type ContinueError struct{ After time.Duration }

func (e *ContinueError) Error() string { return "continue after " + e.After.String() }

// Why a handler's context ended: context.Cause returns one of these.
var (
	ErrCancelled  = errors.New("the call was cancelled")
	ErrTimeout    = errors.New("the attempt's time is over")
	ErrDeadline   = errors.New("the call's deadline has passed")
	ErrShutdown   = errors.New("the server shuts down; the call will be run again")
	ErrHandover   = errors.New("the work is handed to another worker")
	ErrFenced     = errors.New("another worker has claimed the call")
	ErrSuperseded = errors.New("another run of the same id was stored first")
	ErrUnstored   = errors.New("the call could not be stored")
)
