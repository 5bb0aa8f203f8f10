package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The tokens of these tests are built from plain text and signed by the standard
// library, so that tests can build forged tokens, and so that a fault of the JWT
// library cannot hide itself.

// noon is the time of the tests' clock.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func atNoon() time.Time { return noon }

var secret = []byte("0123456789abcdef0123456789abcdef")

// Keys are made once: RSA keys are slow to make.
var (
	rsaKey     = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	strangeRSA = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	ecKey      = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P256()) })
	edKey      = sync.OnceValue(newEd)
)

func newRSA(bits int) *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, bits)) }

func newEC(curve elliptic.Curve) *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(curve, rand.Reader))
}

func newEd() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return must(key, err)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func segment(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// signed returns a token of exactly these texts, signed by the algorithm of the
// key's type. With a nil key it is unsigned.
func signed(key any, header, claims string) string {
	input := segment([]byte(header)) + "." + segment([]byte(claims))
	digest := sha256.Sum256([]byte(input))
	var sig []byte
	switch k := key.(type) {
	case nil:
	case []byte:
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(input))
		sig = mac.Sum(nil)
	case *rsa.PrivateKey:
		sig = must(rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, digest[:]))
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, digest[:])
		size := (k.Curve.Params().BitSize + 7) / 8
		sig = must(append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), err)
	case ed25519.PrivateKey:
		sig = ed25519.Sign(k, []byte(input))
	default:
		panic("no such key")
	}
	return input + "." + segment(sig)
}

// with returns the claims of a valid token with changes; nil removes a claim.
func with(changes map[string]any) string {
	c := map[string]any{
		"sub":    "ada",
		"tenant": "acme",
		"scope":  "reports:write reports:read",
		"iat":    noon.Unix(),
		"exp":    noon.Add(time.Hour).Unix(),
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return string(must(json.Marshal(c)))
}

// plus adds raw text to the claims of a valid token.
func plus(raw string) string { return strings.TrimSuffix(with(nil), "}") + "," + raw + "}" }

const hs256 = `{"alg":"HS256","typ":"JWT"}`

// newJWT returns an authenticator at noon; its default key is the secret.
func newJWT(t testing.TB, o JWTOptions) *JWT {
	t.Helper()
	if o.Keys == nil && o.JWKS == nil {
		o.Keys = []Key{{Key: secret}}
	}
	if o.Now == nil {
		o.Now = atNoon
	}
	j, err := NewJWT(&o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j
}

// requireAccepted returns the identity of a token.
func requireAccepted(t testing.TB, j *JWT, token string) Identity {
	t.Helper()
	id, err := j.Authenticate(t.Context(), token)
	require.NoError(t, err)
	require.NoError(t, id.Validate())
	return id
}

// requireRefused checks that a token is refused with an error of this kind that
// contains no part of the token.
func requireRefused(t testing.TB, j *JWT, token string, kind error) {
	t.Helper()
	id, err := j.Authenticate(t.Context(), token)
	require.ErrorIs(t, err, kind)
	require.Empty(t, id)
	var own *Error
	require.ErrorAs(t, err, &own)
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 8 {
			require.NotContains(t, err.Error(), part)
		}
	}
}
