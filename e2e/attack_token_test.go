package e2e

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// Tokens that are wrong, and names that want to be somebody else's.
var tokenAttacks = []attack{
	{"tokens of every wrong kind", wrongTokens},
	{"tenants and subjects of odd characters", oddNames},
}

func b64(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

// encode is json.Marshal of what has no errors.
func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// join joins the parts of a token with a signature of the first two.
func join(header, claims string, sign func(text []byte) []byte) string {
	text := b64([]byte(header)) + "." + b64([]byte(claims))
	return text + "." + b64(sign([]byte(text)))
}

// signHS256 signs what may be anything but a right token.
func signHS256(header, claims string, secret []byte) string {
	return join(header, claims, func(text []byte) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write(text)
		return mac.Sum(nil)
	})
}

func signRS256(header, claims string, key *rsa.PrivateKey) string {
	return join(header, claims, func(text []byte) []byte {
		sum := sha256.Sum256(text)
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return signature
	})
}

// claimsFor are a right token's.
func claimsFor(tenant, subject string) map[string]any {
	return map[string]any{
		"tenant": tenant, "sub": subject, "iss": "us", "aud": "streamer",
		"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
	}
}

// changed are a right token's claims but for one; nil takes that out.
func changed(name string, value any) string {
	claims := claimsFor("mallory", "mallory")
	claims[name] = value
	if value == nil {
		delete(claims, name)
	}
	return encode(claims)
}

// headerHS is a right token's header.
const headerHS = `{"alg":"HS256","typ":"JWT","kid":"hs"}`

// mint makes a right token.
func (s *attacked) mint(tenant, subject string) string {
	return signHS256(headerHS, encode(claimsFor(tenant, subject)), []byte(attackSecret))
}

// forged is a token that is signed with a wrong secret.
func forged() string {
	return signHS256(`{"alg":"HS256","kid":"hs"}`, `{}`, []byte("not the secret, but as long as it is"))
}

// Each of wrongTokens is refused with 401, without details that help an attacker.
// There is one of each kind; backend/auth tests them all.
func wrongTokens(a *assault) string {
	const hs, rs = headerHS, `{"alg":"RS256","typ":"JWT","kid":"rs"}`
	good := changed("", nil)
	mac := func(header, claims string) string { return signHS256(header, claims, []byte(attackSecret)) }
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(a, err)
	der, err := x509.MarshalPKIXPublicKey(&a.key.PublicKey)
	require.NoError(a, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for _, right := range []string{mac(hs, good), signRS256(rs, good, a.key)} {
		a.dial(right, "the tokens below are wrong in one thing each")
	}
	past, soon := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	valid := mac(hs, good)
	tokens := map[string]string{
		"nothing":                    "",
		"alg none":                   join(`{"alg":"none"}`, good, func([]byte) []byte { return nil }),
		"alg none, with a signature": mac(`{"alg":"none","kid":"hs"}`, good),
		"HS with the public key":     signHS256(`{"alg":"HS256","kid":"rs"}`, good, public),
		"RS with a key of her own":   signRS256(rs, good, foreign),
		"a key inside the header":    signRS256(`{"alg":"RS256","kid":"rs","jwk":{"kty":"RSA","e":"AQAB","n":"`+b64(foreign.N.Bytes())+`"}}`, good, foreign),
		"the other key's id":         mac(`{"alg":"HS256","kid":"rs"}`, good),
		"alg twice":                  mac(`{"alg":"HS256","kid":"hs","alg":"none"}`, good),
		"expired":                    mac(hs, changed("exp", past)),
		"no expiry":                  mac(hs, changed("exp", nil)),
		"not yet valid":              mac(hs, changed("nbf", soon)),
		"no tenant":                  mac(hs, changed("tenant", nil)),
		"tenant twice":               mac(hs, strings.TrimSuffix(good, "}")+`,"tenant":"acme"}`),
		"another issuer":             mac(hs, changed("iss", "them")),
		"another audience":           mac(hs, changed("aud", "shop")),
		"claims changed":             strings.Replace(valid, b64([]byte(good)), b64([]byte(changed("sub", "ann"))), 1),
		"signature cut":              valid[:len(valid)-3],
		"huge and empty":             strings.Repeat("x", 16<<10),
	}
	var got outcomeCounts
	for name, token := range tokens {
		_, err := a.open(token)
		var refused *refusal
		require.ErrorAs(a, err, &refused, name)
		require.Equal(a, 401, refused.Status, name)
		want := "unauthorized"
		if name == "expired" {
			want = "token_expired"
		}
		require.Equal(a, want, refused.Code, name)
		require.NotContains(a, refused.Message, "mallory")
		got.note(err)
	}
	// Two tokens, of which one is right, are none.
	_, err = a.open(valid, "Authorization: Bearer "+valid)
	got.note(err)
	_, err = handshake(a.address, "Sec-WebSocket-Protocol: streamer.v1, streamer.bearer."+valid+", streamer.bearer."+valid)
	got.note(err)
	require.Zero(a, got.count("ok"))
	return got.String()
}

// oddNames are refused, or they are names of their own.
func oddNames(a *assault) string {
	var got outcomeCounts
	for _, name := range []string{
		"a\x1fb", "a\x00b", "a\nb", "a\u202eb", "a\u200bb", "a\ufeffb", "\ufffd", "", strings.Repeat("n", 129), "a\x7fb", "a\u0085b", "a\u2028b",
	} {
		for _, identity := range [][2]string{{name, "ann"}, {"acme", name}} {
			_, err := a.open(a.mint(identity[0], identity[1]))
			require.Error(a, err, "%q", name)
			got.note(err)
		}
	}
	for _, name := range []string{"a/b", "../acme", "acme%00", "acme ", "ACME", "a'; DROP TABLE requests; --", "日本", "a\\u001fb", "*", "%", "_", "ä", "a\u0308"} {
		p := a.dial(a.mint(name, "ann"), "%q", name)
		require.Empty(a, a.roundTrip(p, `{"type":"list","ref":"l"}`).Calls, "%q sees calls of others", name)
		_ = p.Close()
		got.add("a tenant of its own")
	}
	return got.String()
}
