package auth_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/pay-theory/streamer/backend/auth"
)

// A development server mints its own tokens and accepts them.
func ExampleIssuer() {
	issuer, err := auth.NewIssuer(nil) // a random secret: no other issuer's tokens are accepted
	if err != nil {
		panic(err)
	}
	token, err := issuer.Mint(auth.Grant{Tenant: "acme", Subject: "ada", Scopes: []string{"reports:write"}})
	if err != nil {
		panic(err)
	}
	authenticator, err := issuer.Authenticator()
	if err != nil {
		panic(err)
	}
	id, err := authenticator.Authenticate(context.Background(), token)
	fmt.Println(id.Tenant, id.Subject, id.Scopes, err)
	// Output: acme ada [reports:write] <nil>
}

// A production server trusts the keys that an identity provider publishes.
func ExampleNewJWT() {
	authenticator, err := auth.NewJWT(&auth.JWTOptions{
		JWKS:        &auth.JWKSOptions{URL: "http://id.example.com/keys"},
		Issuer:      "https://id.example.com/",
		Audience:    []string{"streamer"},
		TenantClaim: "org",
	})
	if err != nil {
		fmt.Println(err) // keys fetched by plain http could be forged
		return
	}
	defer func() { _ = authenticator.Close() }()
	_, err = authenticator.Authenticate(context.Background(), "…")
	if errors.Is(err, auth.ErrExpired) {
		fmt.Println("answer token_expired: a fresh token will do")
	}
	// Output: auth: keys are fetched by https only, except from a loopback address
}
