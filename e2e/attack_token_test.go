package e2e

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// Tokens that are wrong, and names that want to be somebody else's.
var tokenAttacks = []attack{
	{"tokens of every wrong kind", wrongTokens},
	{"tenants and subjects of odd characters", oddNames},
}

// signHS256 joins and signs what may be anything but a right token.
func signHS256(header, claims string, secret []byte) string {
	text := b64(header) + "." + b64(claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func signRS256(header, claims string, key *rsa.PrivateKey) string {
	text := b64(header) + "." + b64(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// changed are a right token's claims but for one; nil takes that out.
func changed(name string, value any) string {
	claims := claimsFor("mallory", "mallory")
	if value == nil {
		delete(claims, name)
	} else if name != "" {
		claims[name] = value
	}
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Each of wrongTokens is refused with 401, without details that help an attacker.
func wrongTokens(a *assault) string {
	const hs, rs = `{"alg":"HS256","typ":"JWT","kid":"hs"}`, `{"alg":"RS256","typ":"JWT","kid":"rs"}`
	good := changed("", "")
	mac := func(header, claims string) string { return signHS256(header, claims, []byte(attackSecret)) }
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(a, err)
	for _, right := range []string{mac(hs, good), signRS256(rs, good, a.keys.rsa)} {
		p, err := a.open(right)
		require.NoError(a, err, "the tokens below are wrong in one thing each")
		_ = p.Close()
	}
	past, soon := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	double := func(more string) string { return strings.TrimSuffix(good, "}") + "," + more + "}" }
	valid := mac(hs, good)
	tokens := map[string]string{
		"nothing":                       "",
		"rubbish":                       "abc",
		"dots":                          "..",
		"alg none":                      b64(`{"alg":"none"}`) + "." + b64(good) + ".",
		"alg none, with a signature":    mac(`{"alg":"none","kid":"hs"}`, good),
		"alg NonE":                      b64(`{"alg":"NonE","kid":"hs"}`) + "." + b64(good) + ".",
		"no alg":                        mac(`{"kid":"hs"}`, good),
		"HS with the public key":        signHS256(`{"alg":"HS256","kid":"rs"}`, good, a.keys.public),
		"HS with the public key, no id": signHS256(`{"alg":"HS256"}`, good, a.keys.public),
		"RS with a key of her own":      signRS256(rs, good, foreign),
		"a key inside the header":       signRS256(`{"alg":"RS256","kid":"rs","jwk":{"kty":"RSA","e":"AQAB","n":"`+base64.RawURLEncoding.EncodeToString(foreign.N.Bytes())+`"}}`, good, foreign),
		"a key's address in the header": signRS256(`{"alg":"RS256","kid":"rs","jku":"http://127.0.0.1:1/keys"}`, good, foreign),
		"the wrong key id":              mac(`{"alg":"HS256","kid":"nobody"}`, good),
		"the other key's id":            mac(`{"alg":"HS256","kid":"rs"}`, good),
		"a path as key id":              mac(`{"alg":"HS256","kid":"../../dev/null"}`, good),
		"HS512":                         mac(`{"alg":"HS512","kid":"hs"}`, good),
		"critical extensions":           mac(`{"alg":"HS256","kid":"hs","crit":["exp"]}`, good),
		"alg twice":                     mac(`{"alg":"HS256","kid":"hs","alg":"none"}`, good),
		"a logout token":                mac(`{"alg":"HS256","kid":"hs","typ":"logout+jwt"}`, good),
		"expired":                       mac(hs, changed("exp", past)),
		"no expiry":                     mac(hs, changed("exp", nil)),
		"expiry as text":                mac(hs, changed("exp", "9999999999")),
		"expiry beyond time":            mac(hs, changed("exp", 1e30)),
		"not yet valid":                 mac(hs, changed("nbf", soon)),
		"made in the future":            mac(hs, changed("iat", soon)),
		"no tenant":                     mac(hs, changed("tenant", nil)),
		"no subject":                    mac(hs, changed("sub", nil)),
		"tenant as array":               mac(hs, changed("tenant", []string{"acme"})),
		"tenant twice":                  mac(hs, double(`"tenant":"acme"`)),
		"tenant twice, by an escape":    mac(hs, double(`"ten\u0061nt":"acme"`)),
		"subject twice":                 mac(hs, double(`"sub":"ann"`)),
		"another issuer":                mac(hs, changed("iss", "them")),
		"no issuer":                     mac(hs, changed("iss", nil)),
		"another audience":              mac(hs, changed("aud", "shop")),
		"no audience":                   mac(hs, changed("aud", nil)),
		"scopes as object":              mac(hs, changed("scope", map[string]any{"admin": true})),
		"claims as array":               mac(hs, `[]`),
		"claims null":                   mac(hs, `null`),
		"two objects":                   mac(hs, good+good),
		"claims changed":                strings.Replace(valid, "."+b64(good)+".", "."+b64(changed("sub", "ann"))+".", 1),
		"signature cut":                 valid[:len(valid)-3],
		"signature of nothing":          valid[:strings.LastIndex(valid, ".")+1],
		"something added":               valid + ".x",
		"huge":                          mac(hs, double(`"pad":"`+strings.Repeat("x", 7<<10)+`"`)),
		"huge and empty":                strings.Repeat("x", 16<<10),
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
	_, err = handshake(a.address, "Sec-WebSocket-Protocol: streamer.v1", "Authorization: Bearer "+valid, "Authorization: Bearer "+valid)
	require.Error(a, err)
	got.note(err)
	_, err = handshake(a.address, "Sec-WebSocket-Protocol: streamer.v1, streamer.bearer."+valid+", streamer.bearer."+valid)
	require.Error(a, err)
	got.note(err)
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
		p, err := a.open(a.mint(name, "ann"))
		require.NoError(a, err, "%q", name)
		require.Empty(a, a.roundTrip(p, `{"type":"list","ref":"l"}`).Calls, "%q sees calls of others", name)
		_ = p.Close()
		got.add("a tenant of its own")
	}
	return got.String()
}
