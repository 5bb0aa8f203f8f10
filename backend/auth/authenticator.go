// Package auth turns tokens into identities. A server asks an [Authenticator];
// [JWT] is the one for production, [Issuer] mints tokens for development, and
// [Static] serves tests.
//
// No error of this package contains any part of a token, so its text may be
// logged and sent to the caller.
package auth

import "context"

// Authenticator verifies tokens. Implementations are safe for concurrent use.
type Authenticator interface {
	// Authenticate returns who brings the token. The identity keeps the rules
	// of [Identity.Validate].
	//
	// Errors: ErrUnauthorized for a token that is not to be trusted,
	// ErrExpired for one that was right until its time ran out, and
	// ErrUnavailable when it cannot be told now. Compare with errors.Is. Any
	// other error counts as ErrUnavailable, and its text as secret.
	Authenticate(ctx context.Context, token string) (Identity, error)
}

// AuthenticatorFunc is a function that is an Authenticator.
type AuthenticatorFunc func(ctx context.Context, token string) (Identity, error)

// Authenticate calls f.
func (f AuthenticatorFunc) Authenticate(ctx context.Context, token string) (Identity, error) {
	return f(ctx, token)
}
