package auth

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestUnsigned: `none`, in every spelling, and missing signatures.
func TestUnsigned(t *testing.T) {
	j := newJWT(t, JWTOptions{Keys: []Key{{Key: secret}, {Key: &rsaKey().PublicKey}, {Key: &ecKey().PublicKey}, {Key: edKey().Public()}}})
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "", "HS256", "RS256", "ES256", "EdDSA"} {
		token := signed(nil, `{"alg":"`+alg+`"}`, with(nil))
		requireRefused(t, j, token, ErrUnauthorized)
		requireRefused(t, j, token+"AA", ErrUnauthorized)
		requireRefused(t, j, token+segment(make([]byte, 64)), ErrUnauthorized) // r = s = 0
	}
}

// TestConfusion: the public key is public, so it must never be used as an HMAC
// secret, in any encoding that libraries have accepted.
func TestConfusion(t *testing.T) {
	pkix := must(x509.MarshalPKIXPublicKey(&rsaKey().PublicKey))
	pkcs1 := x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)
	public := edKey().Public()
	for _, keys := range [][]Key{
		{{ID: "k", Key: &rsaKey().PublicKey}},
		{{ID: "k", Key: &rsaKey().PublicKey}, {ID: "k", Key: secret}},
		{{ID: "k", Key: public}},
	} {
		j := newJWT(t, JWTOptions{Keys: keys})
		for _, mac := range [][]byte{
			pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}),
			bytes.TrimSpace(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})),
			pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
			pkix, pkcs1, rsaKey().N.Bytes(), edKey()[32:],
			{},
		} {
			for _, header := range []string{hs256, `{"alg":"HS256","kid":"k"}`, `{"alg":"RS256","kid":"k"}`, `{"alg":"EdDSA"}`} {
				requireRefused(t, j, signed(mac, header, with(nil)), ErrUnauthorized)
			}
		}
	}
}

// TestMismatch: a valid signature of a trusted key under another algorithm's name.
func TestMismatch(t *testing.T) {
	private := map[string]any{HS256: secret, RS256: rsaKey(), ES256: ecKey(), EdDSA: edKey()}
	j := newJWT(t, JWTOptions{Keys: []Key{{Key: secret}, {Key: &rsaKey().PublicKey}, {Key: &ecKey().PublicKey}, {Key: edKey().Public()}}})
	algs := []string{HS256, RS256, ES256, EdDSA, "HS384", "HS512", "RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512", "ES256K", "Ed25519", "hs256", "HS256 "}
	for mine, key := range private {
		for _, alg := range algs {
			if alg != mine {
				requireRefused(t, j, signed(key, `{"alg":"`+alg+`"}`, with(nil)), ErrUnauthorized)
			}
		}
	}
	requireRefused(t, j, signed(newEC(elliptic.P384()), `{"alg":"ES256"}`, with(nil)), ErrUnauthorized)
	requireRefused(t, j, signed(strangeRSA(), `{"alg":"RS256"}`, with(nil)), ErrUnauthorized)

	// An algorithm for which the server has no key.
	j = newJWT(t, JWTOptions{Keys: []Key{{Key: &rsaKey().PublicKey}}})
	requireRefused(t, j, signed(secret, hs256, with(nil)), ErrUnauthorized)
}

// TestHeaders: no header changes where keys come from; only the options do.
func TestHeaders(t *testing.T) {
	var asked atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer thief.Close()
	jwk := `{"kty":"RSA","e":"AQAB","n":"` + segment(strangeRSA().N.Bytes()) + `"}`
	j := newJWT(t, JWTOptions{Keys: []Key{{ID: "k", Key: secret}, {ID: "k", Key: &rsaKey().PublicKey}}})

	for name, header := range map[string]string{
		"own key inside": `{"alg":"RS256","jwk":` + jwk + `}`,
		"own key's URL":  `{"alg":"RS256","jku":"` + thief.URL + `","kid":"k"}`,
		"own chain's":    `{"alg":"RS256","x5u":"` + thief.URL + `"}`,
		"own chain":      `{"alg":"RS256","x5c":["AA=="]}`,
	} {
		t.Run(name, func(t *testing.T) {
			requireRefused(t, j, signed(strangeRSA(), header, with(nil)), ErrUnauthorized)
		})
	}
	require.Zero(t, asked.Load(), "nothing that a header names is fetched")

	// These are signed by the trusted secret.
	for name, header := range map[string]string{
		"kid as path":         `{"alg":"HS256","kid":"../../../dev/null"}`,
		"kid as SQL":          `{"alg":"HS256","kid":"k' UNION SELECT 'secret"}`,
		"kid with NUL":        `{"alg":"HS256","kid":"k\u0000"}`,
		"kid of another case": `{"alg":"HS256","kid":"K"}`,
		"kid as array":        `{"alg":"HS256","kid":["k"]}`,
		"kid as number":       `{"alg":"HS256","kid":1}`,
		"kid null":            `{"alg":"HS256","kid":null}`,
		"kid empty":           `{"alg":"HS256","kid":""}`,
		"kid endless":         `{"alg":"HS256","kid":"` + strings.Repeat("k", 257) + `"}`,
		"crit":                `{"alg":"HS256","crit":["exp"],"exp":1}`,
		"crit empty":          `{"alg":"HS256","crit":[]}`,
		"unencoded payload":   `{"alg":"HS256","b64":false,"crit":["b64"]}`,
		"alg twice":           `{"alg":"none","alg":"HS256"}`,
		"alg twice, escaped":  `{"alg":"HS256","\u0061lg":"HS256"}`,
		"alg as array":        `{"alg":["HS256"]}`,
		"alg null":            `{"alg":null}`,
		"alg missing":         `{"typ":"JWT"}`,
		"alg of another case": `{"ALG":"HS256"}`,
		"a logout token":      `{"alg":"HS256","typ":"logout+jwt"}`,
		"typ as number":       `{"alg":"HS256","typ":1}`,
		"not UTF-8":           "{\"alg\":\"HS256\",\"x\":\"\xff\"}",
		"no object":           `["HS256"]`,
		"null":                `null`,
		"two objects":         `{"alg":"HS256"}{"alg":"HS256"}`,
		"trailing brace":      `{"alg":"HS256"}}`,
		"cut":                 `{"alg":"HS256"`,
		"empty":               ``,
	} {
		t.Run(name, func(t *testing.T) {
			requireRefused(t, j, signed(secret, header, with(nil)), ErrUnauthorized)
		})
	}
	for _, header := range []string{
		`{"alg":"HS256","typ":"at+jwt"}`, `{"alg":"HS256","typ":"application/at+JWT","kid":"k"}`, ` {"typ":"jwt" ,"alg":"HS256"} `,
	} {
		requireAccepted(t, j, signed(secret, header, with(nil)))
	}
}

// TestClaimsAreRefused: invalid claims that a trusted key has signed.
func TestClaimsAreRefused(t *testing.T) {
	later := noon.Add(31 * time.Second).Unix() // the leeway is 30 s
	name := strings.Repeat("n", 129)
	j := newJWT(t, JWTOptions{Issuer: "me", Audience: []string{"you"}})
	good := map[string]any{"iss": "me", "aud": "you"}
	change := func(key string, value any) string {
		return with(map[string]any{"iss": good["iss"], "aud": good["aud"], key: value})
	}
	raw := func(text string) string { return strings.TrimSuffix(with(good), "}") + "," + text + "}" }
	requireAccepted(t, j, signed(secret, hs256, with(good)))

	for name, claims := range map[string]string{
		"exp missing":         change("exp", nil),
		"exp as text":         change("exp", "9999999999"),
		"exp as array":        change("exp", []int64{later}),
		"exp true":            change("exp", true),
		"exp negative":        change("exp", -1),
		"exp beyond int64":    change("exp", 1e300),
		"exp in milliseconds": change("exp", noon.Add(time.Hour).UnixMilli()),
		"exp null":            `{"sub":"ada","tenant":"acme","iss":"me","aud":"you","exp":null}`,
		"exp of another case": strings.Replace(with(good), `"exp"`, `"Exp"`, 1),
		"nbf null":            raw(`"nbf":null`),
		"exp twice":           raw(`"exp":9999999999`),
		"exp beyond float64":  `{"sub":"ada","tenant":"acme","iss":"me","aud":"you","exp":1e999}`,
		"nbf in the future":   change("nbf", later),
		"nbf as text":         change("nbf", "0"),
		"iat in the future":   change("iat", later),
		"iat as object":       change("iat", map[string]any{}),
		"iss missing":         change("iss", nil),
		"iss wrong":           change("iss", "me2"),
		"iss of another case": change("iss", "ME"),
		"iss as array":        change("iss", []string{"me"}),
		"aud missing":         change("aud", nil),
		"aud wrong":           change("aud", "you2"),
		"aud empty":           change("aud", []string{}),
		"aud with a number":   change("aud", []any{"you", 1}),
		"aud as object":       change("aud", map[string]any{"you": true}),
		"tenant missing":      change("tenant", nil),
		"tenant empty":        change("tenant", ""),
		"tenant as number":    change("tenant", 1),
		"tenant as array":     change("tenant", []string{"acme"}),
		"tenant too long":     change("tenant", name),
		"tenant with NUL":     change("tenant", "acme\x00"),
		"tenant with newline": change("tenant", "acme\nlevel=error"),
		"tenant with DEL":     change("tenant", "acme\x7f"),
		"tenant with C1":      change("tenant", "acme\u0085"),
		"tenant unseen":       change("tenant", "acme\u200b"),
		"tenant turned round": change("tenant", "acme\u202e"),
		"tenant another case": strings.Replace(with(good), `"tenant"`, `"Tenant"`, 1),
		"tenant twice":        raw(`"tenant":"other"`),
		"tenant twice, \\u":   raw(`"ten\u0061nt":"other"`),
		"tenant surrogate":    strings.Replace(with(good), `"acme"`, `"\ud800"`, 1),
		"tenant not UTF-8":    strings.Replace(with(good), `"acme"`, "\"\xff\"", 1),
		"sub missing":         change("sub", nil),
		"sub empty":           change("sub", ""),
		"sub as number":       change("sub", 7),
		"sub null":            strings.Replace(with(good), `"ada"`, `null`, 1),
		"sub too long":        change("sub", name),
		"sub with tab":        change("sub", "a\tb"),
		"sub another case":    strings.Replace(with(good), `"sub"`, `"SUB"`, 1),
		"sub twice":           raw(`"sub":"root"`),
		"scope as number":     change("scope", 1),
		"scope as object":     change("scope", map[string]any{"a": true}),
		"scope with newline":  change("scope", "a\nb"),
		"scope with quote":    change("scope", `a"b`),
		"scope too long":      change("scope", name),
		"scopes with space":   change("scopes", []string{"a b"}),
		"scopes with empty":   change("scopes", []string{""}),
		"scopes with null":    change("scopes", []any{nil}),
		"scopes nested":       change("scopes", []any{[]string{"a"}}),
		"scopes without end":  change("scopes", manyScopes(MaxScopes+1)),
		"scp false":           change("scp", false),
		"no object":           `["sub"]`,
		"null":                `null`,
		"a string":            `"{}"`,
		"two objects":         with(good) + with(good),
		"nothing":             ``,
	} {
		t.Run(name, func(t *testing.T) {
			requireRefused(t, j, signed(secret, hs256, claims), ErrUnauthorized)
		})
	}
}

// TestShapes: any change to a token's text makes it another token, which is
// refused.
func TestShapes(t *testing.T) {
	j := newJWT(t, JWTOptions{})
	good := signed(secret, hs256, with(nil))
	requireAccepted(t, j, good)
	parts := strings.Split(good, ".")
	half := len(parts[1]) / 2

	for name, token := range map[string]string{
		"empty":                   "",
		"dots":                    "..",
		"one part":                parts[0],
		"two parts":               parts[0] + "." + parts[1],
		"unsigned":                parts[0] + "." + parts[1] + ".",
		"four parts":              good + ".AA",
		"five parts, as a JWE":    good + ".AA.AA",
		"trailing dot":            good + ".",
		"trailing byte":           good + "A",
		"trailing newline":        good + "\n",
		"newline in signature":    good[:len(good)-4] + "\r\n" + good[len(good)-4:],
		"newline in claims":       parts[0] + "." + parts[1][:half] + "\n" + parts[1][half:] + "." + parts[2],
		"leading space":           " " + good,
		"with its scheme":         "Bearer " + good,
		"padding":                 good + "=",
		"standard base64":         strings.ReplaceAll(good, parts[0], parts[0][:4]+"+"+parts[0][5:]),
		"NUL":                     good + "\x00",
		"two tokens":              good + "," + good,
		"without header":          "." + parts[1] + "." + parts[2],
		"without claims":          parts[0] + ".." + parts[2],
		"swapped parts":           parts[1] + "." + parts[0] + "." + parts[2],
		"other claims, same sign": parts[0] + "." + segment([]byte(with(map[string]any{"sub": "root"}))) + "." + parts[2],
		"signature cut":           good[:len(good)-2],
		"a bit of slack":          good[:len(good)-1] + string(next(good[len(good)-1])),
		"of JSON":                 `{"protected":"","payload":"","signature":""}`,
	} {
		t.Run(name, func(t *testing.T) {
			require.NotEqual(t, good, token)
			requireRefused(t, j, token, ErrUnauthorized)
		})
	}
}

// next returns the next letter of base64url. At the end of a 32-byte signature it
// changes only two unused bits.
func next(c byte) byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return letters[strings.IndexByte(letters, c)+1]
}

func TestSize(t *testing.T) {
	j := newJWT(t, JWTOptions{})
	sized := func(pad int) string { return signed(secret, hs256, plus(`"pad":"`+strings.Repeat("p", pad)+`"`)) }
	pad := 0
	for len(sized(pad)) < MaxToken {
		pad++
	}
	require.Len(t, sized(pad), MaxToken)
	requireAccepted(t, j, sized(pad))
	requireRefused(t, j, sized(pad+1), ErrUnauthorized)
	requireRefused(t, j, strings.Repeat("a", 10<<20), ErrUnauthorized)
}
