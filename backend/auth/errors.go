package auth

import "errors"

// Why a token was refused. Compare with errors.Is.
var (
	// ErrUnauthorized: the token does not verify, or its content is not usable.
	// The same token will never be accepted.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrExpired: the token was signed by a trusted key and is valid otherwise,
	// but has expired. A fresh one will be accepted.
	ErrExpired = errors.New("token expired")
	// ErrUnavailable: the keys to verify the token are not available now. The
	// same token may be accepted later.
	ErrUnavailable = errors.New("authentication unavailable")
)

// Error is a refused token. Its text names the rule that was broken, never the
// token's content, and may be sent to the caller.
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
