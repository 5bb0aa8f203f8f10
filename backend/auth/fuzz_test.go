package auth

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzAuthenticate: no text causes a panic, no error quotes the text, and no
// unsigned text is accepted; the fuzzer makes only unsigned ones.
func FuzzAuthenticate(f *testing.F) {
	good := signed(secret, hs256, with(nil))
	f.Add(good)
	f.Add(signed(nil, `{"alg":"none"}`, with(nil)))
	f.Add(signed(rsaKey(), `{"alg":"RS256","kid":"a"}`, with(nil)))
	f.Add(signed(ecKey(), `{"alg":"ES256"}`, `{"exp":1e999,"sub":null}`))
	f.Add(signed(edKey(), `{"alg":"EdDSA","crit":[]}`, `null`))
	f.Add(signed(secret, `null`, `[]`))
	f.Add("..")
	// Only the first seed is signed by a trusted key.
	j := newJWT(f, JWTOptions{Keys: []Key{{Key: secret}, {Key: &strangeRSA().PublicKey}, {Key: newEd().Public()}}})
	f.Fuzz(func(t *testing.T, token string) {
		id, err := j.Authenticate(t.Context(), token)
		if err == nil {
			require.Equal(t, good, token, "accepted as %+v", id)
			return
		}
		var own *Error
		require.ErrorAs(t, err, &own)
		require.Empty(t, id)
		if len(token) > 40 {
			require.NotContains(t, err.Error(), token)
		}
	})
}

// FuzzClaims: claims that a trusted key has signed are either a valid identity or
// refused.
func FuzzClaims(f *testing.F) {
	f.Add(hs256, with(nil))
	f.Add(hs256, plus(`"scopes":["a"],"scp":"b c","nbf":0.5`))
	f.Add(`{"alg":"HS256","kid":"k","typ":"at+jwt"}`, `{"sub":"\ud83d\ude42","tenant":"\ud83d","exp":1e10}`)
	f.Add(`{"alg":"HS256","alg":"none"}`, `{"sub":"a","sub":"b","exp":-0}`)
	f.Add(`null`, `null`)
	j := newJWT(f, JWTOptions{})
	f.Fuzz(func(t *testing.T, header, claims string) {
		id, err := j.Authenticate(t.Context(), signed(secret, header, claims))
		if err != nil {
			return
		}
		require.NoError(t, id.Validate(), "%+v", id)
		require.True(t, id.Expires.After(noon), id.Expires)
		require.False(t, id.Expires.After(time.Unix(maxNumericDate+60, 0)), id.Expires)
	})
}

// FuzzFromRequest: for any headers, a token is a bounded text of the characters
// that tokens may have.
func FuzzFromRequest(f *testing.F) {
	f.Add("Bearer a.b.c", "streamer.v1, streamer.bearer.t", "access_token=q")
	f.Add("bearer\t\t", ",,streamer.bearer.", "access_token=%zz&access_token=a")
	f.Fuzz(func(t *testing.T, authorization, protocols, query string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		require.NoError(t, err)
		r.URL.RawQuery = query
		r.Header = http.Header{"Authorization": {authorization}, "Sec-Websocket-Protocol": {protocols}}
		token, ok := FromRequest(r, true)
		if ok {
			require.NotEmpty(t, token)
			require.LessOrEqual(t, len(token), MaxToken)
			require.False(t, strings.ContainsAny(token, " \t\r\n,\x00\""), "%q", token)
		}
	})
}
