package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

// MaxToken is the longest token in bytes.
const MaxToken = wire.MaxToken

// Defaults and bounds of JWTOptions.
const (
	DefaultTenantClaim = "tenant"
	DefaultLeeway      = 30 * time.Second
	MaxLeeway          = 5 * time.Minute
)

// JWTOptions configure which tokens a [JWT] trusts. Keys, JWKS or both must be
// given.
type JWTOptions struct {
	// Keys are known in advance.
	Keys []Key
	// JWKS is where an identity provider publishes its keys. Nil: nowhere.
	JWKS *JWKSOptions
	// Issuer is the required `iss`. Empty: `iss` is not checked.
	Issuer string
	// Audience holds the names of this server; `aud` must contain one of them.
	// Empty: `aud` is not checked, and tokens that the issuer signs for its other
	// customers are accepted too.
	Audience []string
	// TenantClaim is the claim that holds the tenant, a name at the top level
	// of the claims. Default "tenant".
	TenantClaim string
	// Leeway is how far the clocks of issuer and server may differ, for exp,
	// nbf and iat alike. Default 30 s, at most 5 min; negative: none.
	Leeway time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// JWT authenticates JSON Web Tokens signed with HS256, RS256, ES256 or EdDSA.
//
// Required claims are `exp`, `sub` (the subject) and the tenant's; scopes are
// read from `scope`, `scopes` and `scp`, each a string of scopes separated by
// spaces or an array of scopes. `nbf` and `iat` may not lie in the future.
//
// The JWT library parses tokens and checks signatures. The claims are checked
// here, because a client must know whether a fresh token would help, and the
// library does not report whether expiry is the only fault.
//
// A JWT is safe for concurrent use. With JWKS it runs a goroutine, which Close
// ends.
type JWT struct {
	options JWTOptions
	static  []staticKey
	remote  *keySet
	parser  *jwt.Parser
}

// NewJWT returns an authenticator, or an error that names the wrong option. It
// does not wait for the network: keys from JWKS are fetched in the background,
// and the first tokens wait for them.
func NewJWT(options *JWTOptions) (*JWT, error) {
	if options == nil {
		options = &JWTOptions{}
	}
	o, err := options.normal()
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	j := &JWT{options: o}
	if j.static, err = newStaticKeys(o.Keys); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	var methods []string
	for _, k := range j.static {
		methods = append(methods, k.algorithm)
	}
	if o.JWKS != nil {
		methods = append(methods, RS256, ES256, EdDSA)
		if j.remote, err = newKeySet(o.JWKS); err != nil {
			return nil, fmt.Errorf("auth: %w", err)
		}
	}
	j.parser = jwt.NewParser(jwt.WithValidMethods(methods), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	return j, nil
}

// normal returns a copy with the defaults filled in.
func (o JWTOptions) normal() (JWTOptions, error) {
	if len(o.Keys) == 0 && o.JWKS == nil {
		return o, errors.New("no keys: give Keys or JWKS")
	}
	o.TenantClaim = cmp.Or(o.TenantClaim, DefaultTenantClaim)
	switch {
	case o.Leeway == 0:
		o.Leeway = DefaultLeeway
	case o.Leeway < 0:
		o.Leeway = 0
	case o.Leeway > MaxLeeway:
		return o, fmt.Errorf("a leeway is at most %s", MaxLeeway)
	}
	if slices.Contains(o.Audience, "") {
		return o, errors.New("an audience is not empty")
	}
	o.Audience = slices.Clone(o.Audience)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// Authenticate verifies a token. It waits at most 5 s, and only for the first
// fetch of JWKS or for one that a new key id causes.
func (j *JWT) Authenticate(ctx context.Context, token string) (Identity, error) {
	if err := checkShape(token); err != nil {
		return Identity{}, err
	}
	var c claims
	_, err := j.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) { return j.keysFor(ctx, t) })
	if err != nil {
		return Identity{}, refusal(err)
	}
	id, refused := c.identity(&j.options, j.options.Now())
	if refused != nil {
		return Identity{}, refused
	}
	return id, nil
}

// Close stops fetching, and returns when its goroutines have ended. The present
// keys stay in use. It may be called more than once.
func (j *JWT) Close() error {
	if j.remote != nil {
		j.remote.close()
	}
	return nil
}

// checkShape refuses texts that cannot be a signed token before decoding:
// base64 decoders skip line ends, so several texts would be the same token.
func checkShape(token string) error {
	if len(token) > MaxToken {
		return unauthorized("the token is longer than 8 KiB")
	}
	if strings.Trim(token, alphanumeric+"-_.") != "" {
		return unauthorized("the token holds a character that no JWT has")
	}
	return nil
}

// keysFor returns the keys that may have signed a token: those of its algorithm
// whose id is the token's, or where key or token has no id.
func (j *JWT) keysFor(ctx context.Context, t *jwt.Token) (any, error) {
	segment, _, _ := strings.Cut(t.Raw, ".")
	h, refused := parseHeader(segment)
	if refused != nil {
		return nil, refused
	}
	var set jwt.VerificationKeySet
	for _, k := range j.static {
		if k.serves(h) {
			set.Keys = append(set.Keys, k.key)
		}
	}
	if j.remote != nil && h.algorithm != HS256 {
		keys, err := j.remote.keysFor(ctx, t, h)
		if err != nil && len(set.Keys) == 0 {
			return nil, err
		}
		set.Keys = append(set.Keys, keys...)
	}
	if len(set.Keys) == 0 {
		return nil, unauthorized("no trusted key has the token's key id and algorithm")
	}
	return set, nil
}

// refusal converts an error of the library, whose texts quote the token.
func refusal(err error) *Error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return unauthorized("the token does not parse as a JWT")
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return unauthorized("the token's signature does not verify")
	default:
		return unauthorized("the token's algorithm is not accepted")
	}
}
