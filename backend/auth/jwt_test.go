package auth

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAcceptsEachAlgorithm(t *testing.T) {
	for _, c := range []struct {
		alg     string
		private any
		public  any
	}{
		{HS256, secret, secret},
		{RS256, rsaKey(), &rsaKey().PublicKey},
		{ES256, ecKey(), &ecKey().PublicKey},
		{EdDSA, edKey(), edKey().Public()},
	} {
		t.Run(c.alg, func(t *testing.T) {
			j := newJWT(t, JWTOptions{Keys: []Key{{Key: c.public}}})
			id := requireAccepted(t, j, signed(c.private, `{"alg":"`+c.alg+`"}`, with(nil)))
			require.Equal(t, Identity{
				Tenant: "acme", Subject: "ada",
				Scopes:  []string{"reports:read", "reports:write"},
				Expires: id.Expires,
			}, id)
			require.True(t, id.Expires.Equal(noon.Add(time.Hour).Add(DefaultLeeway)))
		})
	}
}

func TestClaimsAreRead(t *testing.T) {
	scoped := func(scopes ...string) Identity { return Identity{Tenant: "acme", Subject: "ada", Scopes: scopes} }
	for name, c := range map[string]struct {
		options JWTOptions
		claims  string
		want    Identity
	}{
		"no scopes":           {claims: with(map[string]any{"scope": nil}), want: scoped()},
		"scope of spaces":     {claims: with(map[string]any{"scope": "  "}), want: scoped()},
		"scopes as array":     {claims: with(map[string]any{"scope": nil, "scopes": []string{"b", "a", "b"}}), want: scoped("a", "b")},
		"scp as array":        {claims: with(map[string]any{"scope": nil, "scp": []string{"x"}}), want: scoped("x")},
		"scp as text":         {claims: with(map[string]any{"scope": nil, "scp": "x y"}), want: scoped("x", "y")},
		"all of them":         {claims: with(map[string]any{"scope": "a", "scopes": []string{"b"}, "scp": "c a"}), want: scoped("a", "b", "c")},
		"another claim":       {options: JWTOptions{TenantClaim: "https://acme.test/org"}, claims: with(map[string]any{"tenant": nil, "https://acme.test/org": "acme"}), want: scoped("reports:read", "reports:write")},
		"issuer and audience": {options: JWTOptions{Issuer: "https://id.test/", Audience: []string{"a", "b"}}, claims: with(map[string]any{"iss": "https://id.test/", "aud": "b"}), want: scoped("reports:read", "reports:write")},
		"one audience of two": {options: JWTOptions{Audience: []string{"b"}}, claims: with(map[string]any{"aud": []string{"x", "b"}}), want: scoped("reports:read", "reports:write")},
		"names beyond ASCII":  {claims: with(map[string]any{"tenant": "Ä 文", "sub": "🙂"}), want: Identity{Tenant: "Ä 文", Subject: "🙂", Scopes: []string{"reports:read", "reports:write"}}},
		"128 bytes":           {claims: with(map[string]any{"sub": strings.Repeat("s", 128)}), want: Identity{Tenant: "acme", Subject: strings.Repeat("s", 128), Scopes: []string{"reports:read", "reports:write"}}},
		"white space":         {claims: " { \"sub\" : \"ada\" , \"tenant\" :\t\"acme\" , \"exp\" : 1e10 }\n", want: scoped()},
		"claims of others":    {claims: with(map[string]any{"azp": 1, "roles": []any{nil, 2.5}, "SUB": "eve", "Tenant": 7}), want: scoped("reports:read", "reports:write")},
		"clocks apart":        {claims: with(map[string]any{"iat": noon.Add(30 * time.Second).Unix(), "nbf": noon.Add(30 * time.Second).Unix()}), want: scoped("reports:read", "reports:write")},
	} {
		t.Run(name, func(t *testing.T) {
			id := requireAccepted(t, newJWT(t, c.options), signed(secret, hs256, c.claims))
			require.True(t, c.want.Same(id), "got %+v", id)
		})
	}
}

// TestExpiry: for any clock and leeway, a token is valid before Identity.Expires
// and expired from then on.
func TestExpiry(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		leeway := time.Duration(rapid.Int64Range(-1, int64(MaxLeeway)).Draw(rt, "leeway"))
		left := time.Duration(rapid.Int64Range(-int64(20*time.Minute), int64(20*time.Minute)).Draw(rt, "left"))
		exp := noon.Unix()
		now := time.Unix(exp, 0).Add(-left)
		j, err := NewJWT(&JWTOptions{Keys: []Key{{Key: secret}}, Leeway: leeway, Now: func() time.Time { return now }})
		require.NoError(rt, err)
		used := max(cmp.Or(leeway, DefaultLeeway), 0)
		id, err := j.Authenticate(t.Context(), signed(secret, hs256, with(map[string]any{"exp": exp, "iat": nil})))
		if left+used > 0 {
			require.NoError(rt, err)
			require.True(rt, id.Expires.After(now))
			require.Equal(rt, left+used, id.Expires.Sub(now))
		} else {
			require.ErrorIs(rt, err, ErrExpired)
			require.NotErrorIs(rt, err, ErrUnauthorized)
		}
	})
}

// TestExpiryIsReportedLast: a token is reported as expired only if a fresh one would
// be accepted; otherwise clients would request fresh tokens forever.
func TestExpiryIsReportedLast(t *testing.T) {
	past := noon.Add(-time.Hour).Unix()
	j := newJWT(t, JWTOptions{Audience: []string{"me"}})
	requireRefused(t, j, signed(secret, hs256, with(map[string]any{"aud": "me", "exp": past})), ErrExpired)
	requireRefused(t, j, signed(secret, hs256, with(map[string]any{"aud": "you", "exp": past})), ErrUnauthorized)
	requireRefused(t, j, signed(secret, hs256, with(map[string]any{"aud": "me", "exp": past, "tenant": nil})), ErrUnauthorized)
	requireRefused(t, j, signed(secret, hs256, with(map[string]any{"aud": "me", "exp": past, "scope": 1})), ErrUnauthorized)
	requireRefused(t, j, signed([]byte(strings.Repeat("x", 32)), hs256, with(map[string]any{"aud": "me", "exp": past})), ErrUnauthorized)
}

func TestKeysByID(t *testing.T) {
	other := []byte(strings.Repeat("o", 32))
	j := newJWT(t, JWTOptions{Keys: []Key{{ID: "old", Key: secret}, {ID: "new", Key: other}, {ID: "new", Key: &rsaKey().PublicKey}}})
	authenticates(t, j, secret, `{"alg":"HS256","kid":"old"}`)
	authenticates(t, j, other, `{"alg":"HS256","kid":"new"}`)
	authenticates(t, j, rsaKey(), `{"alg":"RS256","kid":"new"}`)
	authenticates(t, j, secret, hs256) // without an id each key is tried
	authenticates(t, j, other, hs256)
	requireRefused(t, j, signed(secret, `{"alg":"HS256","kid":"new"}`, with(nil)), ErrUnauthorized)
	requireRefused(t, j, signed(secret, `{"alg":"HS256","kid":"other"}`, with(nil)), ErrUnauthorized)
	requireRefused(t, j, signed(rsaKey(), `{"alg":"RS256","kid":"old"}`, with(nil)), ErrUnauthorized)
}

func TestOptionsAreRefused(t *testing.T) {
	offCurve := ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)} //nolint:staticcheck // the parser that should be used instead makes no such key
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)})
	for name, c := range map[string]struct {
		options JWTOptions
		want    string
	}{
		"no keys":              {JWTOptions{}, "no keys"},
		"short secret":         {JWTOptions{Keys: []Key{{Key: secret[:31]}}}, "at least 32 bytes"},
		"empty secret":         {JWTOptions{Keys: []Key{{Key: []byte(nil)}}}, "at least 32 bytes"},
		"a PEM as secret":      {JWTOptions{Keys: []Key{{Key: publicPEM}}}, "no PEM file"},
		"a string as secret":   {JWTOptions{Keys: []Key{{Key: string(secret)}}}, "not supported"},
		"no key":               {JWTOptions{Keys: []Key{{ID: "a"}}}, "not supported"},
		"weak RSA":             {JWTOptions{Keys: []Key{{Key: &newRSA(1024).PublicKey}}}, "2048 to 8192 bits"},
		"huge RSA":             {JWTOptions{Keys: []Key{{Key: &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 8192), E: 65537}}}}, "2048 to 8192 bits"},
		"exponent 1":           {JWTOptions{Keys: []Key{{Key: &rsa.PublicKey{N: rsaKey().N, E: 1}}}}, "exponent"},
		"even exponent":        {JWTOptions{Keys: []Key{{Key: &rsa.PublicKey{N: rsaKey().N, E: 65538}}}}, "exponent"},
		"nil RSA":              {JWTOptions{Keys: []Key{{Key: (*rsa.PublicKey)(nil)}}}, "empty"},
		"P-384":                {JWTOptions{Keys: []Key{{Key: &newEC(elliptic.P384()).PublicKey}}}, "P-256"},
		"off the curve":        {JWTOptions{Keys: []Key{{Key: &offCurve}}}, "no point"},
		"short Ed25519":        {JWTOptions{Keys: []Key{{Key: ed25519.PublicKey("short")}}}, "32 bytes"},
		"private RSA":          {JWTOptions{Keys: []Key{{Key: rsaKey()}}}, "private key"},
		"private EC":           {JWTOptions{Keys: []Key{{Key: ecKey()}}}, "private key"},
		"private Ed25519":      {JWTOptions{Keys: []Key{{Key: edKey()}}}, "private key"},
		"long key id":          {JWTOptions{Keys: []Key{{ID: strings.Repeat("k", 257), Key: secret}}}, "256 bytes"},
		"twins":                {JWTOptions{Keys: []Key{{ID: "a", Key: secret}, {ID: "a", Key: []byte(strings.Repeat("x", 32))}}}, "same id"},
		"wide leeway":          {JWTOptions{Keys: []Key{{Key: secret}}, Leeway: MaxLeeway + 1}, "leeway"},
		"empty audience":       {JWTOptions{Keys: []Key{{Key: secret}}, Audience: []string{""}}, "audience"},
		"keys by plain http":   {JWTOptions{JWKS: &JWKSOptions{URL: "http://id.test/keys"}}, "https only"},
		"keys by address":      {JWTOptions{JWKS: &JWKSOptions{URL: "http://192.0.2.1/keys"}}, "https only"},
		"keys by ftp":          {JWTOptions{JWKS: &JWKSOptions{URL: "ftp://127.0.0.1/keys"}}, "https only"},
		"keys by file":         {JWTOptions{JWKS: &JWKSOptions{URL: "file:///etc/keys"}}, "absolute URL"},
		"keys from nowhere":    {JWTOptions{JWKS: &JWKSOptions{URL: "/keys"}}, "absolute URL"},
		"loopback in disguise": {JWTOptions{JWKS: &JWKSOptions{URL: "http://127.0.0.1.id.test/keys"}}, "https only"},
		"credentials in URL":   {JWTOptions{JWKS: &JWKSOptions{URL: "https://me:word@id.test/keys"}}, "credentials"},
		"restless":             {JWTOptions{JWKS: &JWKSOptions{URL: "https://id.test/keys", Refresh: time.Second}}, "refresh"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewJWT(&c.options)
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := NewJWT(nil)
	require.ErrorContains(t, err, "no keys")
}

func TestParsePublicKey(t *testing.T) {
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for _, key := range []any{&rsaKey().PublicKey, &ecKey().PublicKey, edKey().Public()} {
		der := must(x509.MarshalPKIXPublicKey(key))
		got, err := ParsePublicKey(block("PUBLIC KEY", der))
		require.NoError(t, err)
		require.Equal(t, key, got)
	}
	good := block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey))
	got, err := ParsePublicKey(good)
	require.NoError(t, err)
	require.Equal(t, &rsaKey().PublicKey, got)

	private := must(x509.MarshalPKCS8PrivateKey(ecKey()))
	for want, data := range map[string][]byte{
		"no PEM block":   []byte("hello"),
		"private key":    block("PRIVATE KEY", private),
		"expected":       block("CERTIFICATE", nil),
		"does not parse": block("PUBLIC KEY", []byte{1}),
		"2048":           block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&newRSA(1024).PublicKey)),
		"follows":        slices.Concat(good, good),
	} {
		_, err := ParsePublicKey(data)
		require.ErrorContains(t, err, want)
	}
}

// TestSecretIsCopied: overwriting the caller's secret does not change the key.
func TestSecretIsCopied(t *testing.T) {
	mine := slices.Clone(secret)
	j := newJWT(t, JWTOptions{Keys: []Key{{Key: mine}}})
	_, _ = rand.Read(mine)
	authenticates(t, j, secret, hs256)
}
