package auth

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of the life of a token from an Issuer.
const (
	DefaultTTL = time.Hour
	MaxTTL     = 30 * 24 * time.Hour
)

// IssuerOptions configure how an [Issuer] signs. The zero value has a random secret.
type IssuerOptions struct {
	// Secret signs by HS256: at least 32 bytes. Default: 32 random bytes, so
	// that no other process accepts the tokens.
	Secret []byte
	// KeyID is the tokens' `kid`. Empty: none.
	KeyID string
	// Issuer and Audience are the tokens' `iss` and `aud`. Empty: none.
	Issuer   string
	Audience []string
	// TenantClaim is the claim that holds the tenant. Default "tenant".
	TenantClaim string
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Issuer mints tokens for development, demonstrations and tests, with a secret
// that it shares with the server. In production an identity provider mints them,
// and the server has only public keys. It is safe for concurrent use.
type Issuer struct {
	options IssuerOptions
}

// Grant is the content of a token.
type Grant struct {
	Tenant  string
	Subject string
	// Scopes in any order.
	Scopes []string
	// TTL is how long the token is valid, in whole seconds. Default 1 h, at most
	// 30 days.
	TTL time.Duration
}

// NewIssuer returns an issuer, or an error that names the wrong option. Nil
// options are the default ones.
func NewIssuer(options *IssuerOptions) (*Issuer, error) {
	var o IssuerOptions
	if options != nil {
		o = *options
	}
	if len(o.Secret) == 0 {
		o.Secret = make([]byte, MinSecret)
		_, _ = rand.Read(o.Secret) // never fails: crypto/rand aborts the program instead
	} else {
		o.Secret = slices.Clone(o.Secret)
	}
	if err := checkSecret(o.Secret); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	if len(o.KeyID) > maxKeyID {
		return nil, fmt.Errorf("auth: a key id has at most %d bytes", maxKeyID)
	}
	o.TenantClaim = cmp.Or(o.TenantClaim, DefaultTenantClaim)
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Issuer{options: o}, nil
}

// Mint returns a signed token. It refuses a grant that no server would accept.
func (i *Issuer) Mint(g Grant) (string, error) {
	ttl := cmp.Or(g.TTL, DefaultTTL)
	if ttl < time.Second || ttl > MaxTTL {
		return "", fmt.Errorf("auth: a token lives from 1 s to %s", MaxTTL)
	}
	id := Identity{Tenant: g.Tenant, Subject: g.Subject, Scopes: sortedScopes(g.Scopes)}
	if err := id.Validate(); err != nil {
		return "", fmt.Errorf("auth: %w", err)
	}
	now := i.options.Now()
	c := jwt.MapClaims{
		"sub": id.Subject,
		"iat": now.Unix(),
		"exp": now.Add(ttl).Unix(),
	}
	if _, taken := c[i.options.TenantClaim]; taken {
		return "", errors.New("auth: the tenant's claim has the name of another one")
	}
	c[i.options.TenantClaim] = id.Tenant
	if len(id.Scopes) > 0 {
		c["scopes"] = id.Scopes
	}
	if i.options.Issuer != "" {
		c["iss"] = i.options.Issuer
	}
	if len(i.options.Audience) > 0 {
		c["aud"] = i.options.Audience
	}
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, c)
	if i.options.KeyID != "" {
		t.Header["kid"] = i.options.KeyID
	}
	token, err := t.SignedString(i.options.Secret)
	if err != nil {
		return "", fmt.Errorf("auth: sign: %w", err)
	}
	if len(token) > MaxToken {
		return "", errors.New("auth: the token would be longer than 8 KiB: grant fewer scopes")
	}
	return token, nil
}

// Authenticator returns an authenticator that accepts only this issuer's tokens.
func (i *Issuer) Authenticator() (*JWT, error) {
	return NewJWT(&JWTOptions{
		Keys:        []Key{{ID: i.options.KeyID, Key: i.options.Secret}},
		Issuer:      i.options.Issuer,
		Audience:    i.options.Audience,
		TenantClaim: i.options.TenantClaim,
		Now:         i.options.Now,
	})
}
