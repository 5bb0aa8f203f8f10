package store

import "errors"

// Errors of stores. Compare with errors.Is.
var (
	// ErrNotFound: there is no such record, or it has expired.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the id is in use for another subject, action or payload.
	ErrConflict = errors.New("the id is in use for another call")
	// ErrIdempotencyConflict: the key is in use for another payload.
	ErrIdempotencyConflict = errors.New("the idempotency key is in use for another payload")
	// ErrExpired: the id is unknown and older than the retention.
	ErrExpired = errors.New("the id is older than the retention")
	// ErrNotDue: the request is queued for later.
	ErrNotDue = errors.New("not due yet")
	// ErrLeased: another worker holds the request.
	ErrLeased = errors.New("leased to another worker")
	// ErrQuarantined: the request needs a claim with Claimant.Quarantine.
	ErrQuarantined = errors.New("the request is quarantined")
	// ErrEnded: the request has ended.
	ErrEnded = errors.New("ended")
	// ErrFenced: a newer claim exists, or the request is not running any more.
	ErrFenced = errors.New("fenced: a newer claim exists, or the request is not running")
	// ErrCursor: the cursor was not made for this list.
	ErrCursor = errors.New("the cursor was not made for this list")
	// ErrUnavailable: the operation failed; it may have had its effect.
	ErrUnavailable = errors.New("store unavailable")
	// ErrClosed: the store was closed. It is an ErrUnavailable.
	ErrClosed error = closedError{}
)

type closedError struct{}

func (closedError) Error() string        { return "store closed" }
func (closedError) Is(target error) bool { return target == ErrUnavailable }
