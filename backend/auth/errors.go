package auth

import "errors"

// Why a token was refused. Compare with errors.Is.
var (
	// ErrUnauthorized: the token does not verify, or says nothing usable. The
	// same token will never do.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrExpired: the token was signed by a trusted key and right in all, but
	// its time has run out. A fresh one will do.
	ErrExpired = errors.New("token expired")
	// ErrUnavailable: the keys to judge the token cannot be had now. The same
	// token may do later.
	ErrUnavailable = errors.New("authentication unavailable")
)

// Error is a refused token. Its text names the rule that was broken, never
// what the token holds, and is fit for the caller's eyes.
type Error struct {
	// Kind is ErrUnauthorized, ErrExpired or ErrUnavailable.
	Kind error
	// Reason is the rule that was broken.
	Reason string
}

func (e *Error) Error() string { return e.Kind.Error() + ": " + e.Reason }

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

func unauthorized(reason string) *Error { return &Error{Kind: ErrUnauthorized, Reason: reason} }

func unavailable(reason string) *Error { return &Error{Kind: ErrUnavailable, Reason: reason} }
