package auth

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestMintedIsAccepted: a minted token authenticates as the identity that was
// granted.
func TestMintedIsAccepted(t *testing.T) {
	name := rapid.StringMatching(`[a-zA-Z0-9 äöü:@._-]{1,40}`)
	rapid.Check(t, func(rt *rapid.T) {
		issuer, err := NewIssuer(&IssuerOptions{
			KeyID:       rapid.SampledFrom([]string{"", "k1"}).Draw(rt, "kid"),
			Issuer:      rapid.SampledFrom([]string{"", "dev"}).Draw(rt, "issuer"),
			Audience:    rapid.SampledFrom([][]string{nil, {"a"}, {"a", "b"}}).Draw(rt, "audience"),
			TenantClaim: rapid.SampledFrom([]string{"", "org"}).Draw(rt, "claim"),
			Now:         atNoon,
		})
		require.NoError(rt, err)
		grant := Grant{
			Tenant: name.Draw(rt, "tenant"), Subject: name.Draw(rt, "subject"),
			Scopes: rapid.SliceOfN(rapid.StringMatching(`[a-z:]{1,20}`), 0, 8).Draw(rt, "scopes"),
			TTL:    time.Duration(rapid.Int64Range(1, int64(MaxTTL/time.Second)).Draw(rt, "ttl")) * time.Second,
		}
		token, err := issuer.Mint(grant)
		require.NoError(rt, err)
		a, err := issuer.Authenticator()
		require.NoError(rt, err)
		id, err := a.Authenticate(rt.Context(), token)
		require.NoError(rt, err)
		require.NoError(rt, id.Validate())
		require.True(rt, id.Same(Identity{Tenant: grant.Tenant, Subject: grant.Subject, Scopes: grant.Scopes}))
		require.Equal(rt, grant.TTL+DefaultLeeway, id.Expires.Sub(noon))
	})
}

func TestIssuersDoNotTrustEachOther(t *testing.T) {
	mint := func(o *IssuerOptions) (string, *JWT) {
		issuer, err := NewIssuer(o)
		require.NoError(t, err)
		token, err := issuer.Mint(Grant{Tenant: "t", Subject: "s"})
		require.NoError(t, err)
		a, err := issuer.Authenticator()
		require.NoError(t, err)
		return token, a
	}
	token, a := mint(nil)
	unknown, _ := mint(nil)
	requireAccepted(t, a, token)
	requireRefused(t, a, unknown, ErrUnauthorized)

	shared, _ := mint(&IssuerOptions{Secret: secret, Audience: []string{"staging"}})
	_, production := mint(&IssuerOptions{Secret: secret, Audience: []string{"production"}})
	requireRefused(t, production, shared, ErrUnauthorized)
}

func TestIssuerRefuses(t *testing.T) {
	for want, o := range map[string]IssuerOptions{
		"at least 32 bytes": {Secret: secret[:31]},
		"PEM":               {Secret: []byte("-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkq")},
		"256 bytes":         {KeyID: strings.Repeat("k", 257)},
	} {
		_, err := NewIssuer(&o)
		require.ErrorContains(t, err, want)
	}
	issuer, err := NewIssuer(nil)
	require.NoError(t, err)
	long := manyScopes(MaxScopes)
	for i := range long {
		long[i] += strings.Repeat("x", 100)
	}
	for want, g := range map[string]Grant{
		"tenant":          {Subject: "s"},
		"subject":         {Tenant: "t"},
		"scope":           {Tenant: "t", Subject: "s", Scopes: []string{"a b"}},
		"lives from 1 s":  {Tenant: "t", Subject: "s", TTL: time.Millisecond},
		"to 720h":         {Tenant: "t", Subject: "s", TTL: MaxTTL + 1},
		"longer than 8 K": {Tenant: "t", Subject: "s", Scopes: long},
	} {
		_, err := issuer.Mint(g)
		require.ErrorContains(t, err, want)
	}
	issuer, err = NewIssuer(&IssuerOptions{TenantClaim: "sub"})
	require.NoError(t, err)
	_, err = issuer.Mint(Grant{Tenant: "t", Subject: "s"})
	require.ErrorContains(t, err, "name of another one")
}
