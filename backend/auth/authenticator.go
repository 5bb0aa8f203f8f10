// Package auth turns tokens into identities. A server calls an [Authenticator]:
// [JWT] in production, [Static] in tests. [Issuer] mints tokens for development.
//
// No error of this package contains any part of a token, so its text may be
// logged and sent to the caller.
package auth

import "context"

// Authenticator verifies tokens. Implementations are safe for concurrent use.
type Authenticator interface {
	// Authenticate returns the identity of the token. It satisfies
	// [Identity.Validate].
	//
	// Errors: ErrUnauthorized for a token that is not trusted, ErrExpired for
	// one that was valid until it expired, and ErrUnavailable when it cannot be
	// verified now. Compare with errors.Is. Any other error counts as
	// ErrUnavailable, and its text as secret.
	Authenticate(ctx context.Context, token string) (Identity, error)
}

// AuthenticatorFunc is a function that implements Authenticator.
type AuthenticatorFunc func(ctx context.Context, token string) (Identity, error)

// Authenticate calls f.
func (f AuthenticatorFunc) Authenticate(ctx context.Context, token string) (Identity, error) {
	return f(ctx, token)
}
