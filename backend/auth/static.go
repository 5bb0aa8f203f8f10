package auth

import (
	"context"
	"time"
)

// Static maps tokens to identities, for tests. It is safe for concurrent use
// as long as the map is not changed.
type Static map[string]Identity

// Authenticate looks the token up.
func (s Static) Authenticate(_ context.Context, token string) (Identity, error) {
	id, ok := s[token]
	if !ok {
		return Identity{}, unauthorized("the token is not known")
	}
	id.Scopes = sortedScopes(id.Scopes)
	if err := id.Validate(); err != nil {
		return Identity{}, unauthorized(err.Error())
	}
	if !id.Expires.IsZero() && !time.Now().Before(id.Expires) {
		return Identity{}, &Error{Kind: ErrExpired, Reason: "the token's time has run out"}
	}
	return id, nil
}
