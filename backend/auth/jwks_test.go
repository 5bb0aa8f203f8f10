package auth

import (
	"context"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// provider is an identity provider's JWKS endpoint.
type provider struct {
	answer atomic.Pointer[http.HandlerFunc]
	asked  atomic.Int64
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	(*p.answer.Load())(w, r)
}

func (p *provider) answers(h http.HandlerFunc) { p.answer.Store(&h) }

func (p *provider) answersText(text []byte) {
	p.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) })
}

// publishes makes the provider answer with these keys.
func (p *provider) publishes(keys ...map[string]any) {
	p.answersText(must(json.Marshal(map[string]any{"keys": keys})))
}

func (p *provider) breaks() {
	p.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
}

// RoundTrip calls the provider in a synctest bubble, where real sockets would stop
// the clock.
func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result(), nil
}

func rsaJWK(kid string, key *rsa.PublicKey) map[string]any {
	return map[string]any{"kty": "RSA", "kid": kid, "n": segment(key.N.Bytes()), "e": segment(big.NewInt(int64(key.E)).Bytes())}
}

func ecJWK(kid string) map[string]any {
	point := must(ecKey().PublicKey.Bytes()) // 4, x, y
	return map[string]any{"kty": "EC", "crv": "P-256", "kid": kid, "x": segment(point[1:33]), "y": segment(point[33:])}
}

func edJWK(kid string) map[string]any {
	return map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": segment(edKey()[32:])}
}

func and(jwk map[string]any, field string, value any) map[string]any {
	jwk[field] = value
	return jwk
}

// strict fails the test when a fetch fails.
func strict(t testing.TB) func(error) {
	return func(err error) { t.Errorf("fetch: %v", err) }
}

func authenticates(t testing.TB, j *JWT, key any, header string) {
	t.Helper()
	require.Equal(t, "ada", requireAccepted(t, j, signed(key, header, with(nil))).Subject)
}

func TestJWKS(t *testing.T) {
	var p provider
	p.publishes(rsaJWK("r", &rsaKey().PublicKey), ecJWK("e"), edJWK("d"))
	server := httptest.NewServer(&p)
	defer server.Close()
	j := newJWT(t, JWTOptions{JWKS: &JWKSOptions{URL: server.URL, OnError: strict(t)}})
	authenticates(t, j, rsaKey(), `{"alg":"RS256","kid":"r"}`)
	authenticates(t, j, ecKey(), `{"alg":"ES256","kid":"e"}`)
	authenticates(t, j, edKey(), `{"alg":"EdDSA","kid":"d"}`)
	authenticates(t, j, ecKey(), `{"alg":"ES256"}`) // without an id each key is tried
	requireRefused(t, j, signed(ecKey(), `{"alg":"ES256","kid":"r"}`, with(nil)), ErrUnauthorized)
	requireRefused(t, j, signed(rsaKey(), `{"alg":"ES256","kid":"e"}`, with(nil)), ErrUnauthorized)
	requireRefused(t, j, signed(strangeRSA(), `{"alg":"RS256","kid":"r"}`, with(nil)), ErrUnauthorized)
	requireRefused(t, j, signed(nil, `{"alg":"none","kid":"r"}`, with(nil)), ErrUnauthorized)
	requireRefused(t, j, signed(rsaKey().N.Bytes(), `{"alg":"HS256","kid":"r"}`, with(nil)), ErrUnauthorized)
	require.EqualValues(t, 1, p.asked.Load())
	require.NoError(t, j.Close())
	require.NoError(t, j.Close())
	authenticates(t, j, rsaKey(), `{"alg":"RS256","kid":"r"}`) // the present keys stay in use
	requireRefused(t, j, signed(rsaKey(), `{"alg":"RS256","kid":"new"}`, with(nil)), ErrUnavailable)
}

// TestJWKSByTLS: the client may choose the certificate authority; the default client
// accepts only those of the machine.
func TestJWKSByTLS(t *testing.T) {
	var p provider
	p.publishes(edJWK("d"))
	server := httptest.NewUnstartedServer(&p)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a handshake is to fail
	server.StartTLS()
	defer server.Close()
	j := newJWT(t, JWTOptions{JWKS: &JWKSOptions{URL: server.URL, Client: server.Client(), OnError: strict(t)}})
	authenticates(t, j, edKey(), `{"alg":"EdDSA","kid":"d"}`)

	faults := make(chan error, 8)
	j = newJWT(t, JWTOptions{JWKS: &JWKSOptions{URL: server.URL, OnError: func(err error) { faults <- err }}})
	requireRefused(t, j, signed(edKey(), `{"alg":"EdDSA","kid":"d"}`, with(nil)), ErrUnavailable)
	require.ErrorContains(t, <-faults, "certificate")
}

// TestJWKSRedirects: redirects to plain http are followed only to loopback
// addresses, even if the target has keys.
func TestJWKSRedirects(t *testing.T) {
	for target, fine := range map[string]bool{
		"https://other.test/keys": true,
		"http://127.0.0.1/keys":   true,
		"http://[::1]/keys":       true,
		"http://localhost/keys":   true,
		"http://id.test/keys":     false,
		"http://192.0.2.1/keys":   false,
		"http://localhost.test/":  false,
		"https://id.test/hop":     false, // round and round
	} {
		t.Run(target, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *provider, o *JWTOptions) {
				keys := *p.answer.Load()
				p.answers(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/hop" {
						http.Redirect(w, r, target, http.StatusFound)
						return
					}
					keys(w, r)
				})
				o.JWKS.URL = "https://id.test/hop"
				j := newJWT(t, *o)
				if fine {
					authenticates(t, j, edKey(), `{"alg":"EdDSA","kid":"d"}`)
				} else {
					requireRefused(t, j, signed(edKey(), `{"alg":"EdDSA","kid":"d"}`, with(nil)), ErrUnavailable)
				}
			})
		})
	}
}

// TestJWKSKeysThatAreNotTrusted: keys for other purposes, weak keys and published
// secrets verify nothing.
func TestJWKSKeysThatAreNotTrusted(t *testing.T) {
	var p provider
	weak := newRSA(1024)
	p384 := newEC(elliptic.P384())
	point := must(p384.PublicKey.Bytes())
	private := and(ecJWK("private"), "d", segment(must(ecKey().Bytes())))
	p.publishes(
		edJWK("good"),
		map[string]any{"kty": "oct", "kid": "oct", "k": segment(secret)},
		rsaJWK("weak", &weak.PublicKey),
		map[string]any{"kty": "EC", "crv": "P-384", "kid": "p384", "x": segment(point[1:49]), "y": segment(point[49:])},
		private,
		and(rsaJWK("enc", &rsaKey().PublicKey), "use", "enc"),
		and(rsaJWK("sign", &rsaKey().PublicKey), "key_ops", []string{"sign"}),
		and(rsaJWK("ps256", &rsaKey().PublicKey), "alg", "PS256"),
		map[string]any{"kty": "new", "kid": "new"},
	)
	server := httptest.NewServer(&p)
	defer server.Close()
	j := newJWT(t, JWTOptions{JWKS: &JWKSOptions{URL: server.URL, OnError: strict(t)}})
	authenticates(t, j, edKey(), `{"alg":"EdDSA","kid":"good"}`)
	for _, c := range []struct {
		key     any
		alg, id string
	}{
		{secret, HS256, "oct"},
		{weak, RS256, "weak"},
		{p384, ES256, "p384"},
		{ecKey(), ES256, "private"},
		{rsaKey(), RS256, "enc"},
		{rsaKey(), RS256, "sign"},
		{rsaKey(), RS256, "ps256"},
		{rsaKey(), "PS256", "ps256"},
	} {
		requireRefused(t, j, signed(c.key, `{"alg":"`+c.alg+`","kid":"`+c.id+`"}`, with(nil)), ErrUnauthorized)
		requireRefused(t, j, signed(c.key, `{"alg":"`+c.alg+`"}`, with(nil)), ErrUnauthorized)
	}
}

// TestJWKSBadAnswers: a bad answer does not remove the present keys, and without
// keys no token is unauthorized, because clients would then give up.
func TestJWKSBadAnswers(t *testing.T) {
	many := make([]map[string]any, maxRemote+1)
	for i := range many {
		many[i] = edJWK(strings.Repeat("k", i+1))
	}
	var p provider
	var written atomic.Int64
	for name, bad := range map[string]func(){
		"error":         p.breaks,
		"no JSON":       func() { p.answersText([]byte("<html>")) },
		"no keys":       func() { p.publishes() },
		"no usable key": func() { p.publishes(map[string]any{"kty": "oct", "k": segment(secret)}) },
		"too many keys": func() { p.publishes(many...) },
		"endless": func() {
			p.answers(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"keys":[],"x":"`))
				for page := []byte(strings.Repeat("x", 64<<10)); ; {
					n, err := w.Write(page)
					if written.Add(int64(n)); err != nil {
						return
					}
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(&p)
			defer server.Close()
			bad()
			faults := make(chan error, 8)
			j := newJWT(t, JWTOptions{JWKS: &JWKSOptions{URL: server.URL, OnError: func(err error) { faults <- err }}})
			requireRefused(t, j, signed(edKey(), `{"alg":"EdDSA","kid":"d"}`, with(nil)), ErrUnavailable)
			require.Error(t, <-faults)

			p.publishes(edJWK("d"))
			require.NoError(t, j.remote.fetchOnce())
			bad()
			require.Error(t, j.remote.fetchOnce())
			authenticates(t, j, edKey(), `{"alg":"EdDSA","kid":"d"}`)
		})
	}
	// Unread data is in the sockets' buffers.
	require.Less(t, written.Load(), int64(64<<20), "an endless answer is read to the bound only")
}

// inBubble runs a test with its own provider and clock.
func inBubble(t *testing.T, test func(t *testing.T, p *provider, o *JWTOptions)) {
	_, _, _ = rsaKey(), ecKey(), edKey() // made outside: OnceValue must not block on another bubble
	synctest.Test(t, func(t *testing.T) {
		p := &provider{}
		p.publishes(edJWK("d"))
		test(t, p, &JWTOptions{JWKS: &JWKSOptions{URL: "https://id.test/keys", Client: &http.Client{Transport: p}, OnError: func(error) {}}})
	})
}

// pass advances the bubble's clock, and waits until everything due has happened.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestJWKSIsFetchedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider, o *JWTOptions) {
		j := newJWT(t, *o)
		synctest.Wait()
		require.EqualValues(t, 1, p.asked.Load())
		p.publishes(ecJWK("e")) // d is revoked
		authenticates(t, j, edKey(), `{"alg":"EdDSA","kid":"d"}`)
		pass(DefaultRefresh)
		require.EqualValues(t, 2, p.asked.Load())
		authenticates(t, j, ecKey(), `{"alg":"ES256","kid":"e"}`)
		requireRefused(t, j, signed(edKey(), `{"alg":"EdDSA","kid":"d"}`, with(nil)), ErrUnauthorized)

		p.breaks()
		pass(DefaultRefresh)
		require.EqualValues(t, 3, p.asked.Load())
		pass(retryGap)
		require.EqualValues(t, 4, p.asked.Load(), "after a failure it is sooner tried again")
		authenticates(t, j, ecKey(), `{"alg":"ES256","kid":"e"}`)
	})
}

// TestJWKSUnknownKeyID: a rotated key is found at once, and invented key ids cause
// one fetch per fetchGap.
func TestJWKSUnknownKeyID(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider, o *JWTOptions) {
		j := newJWT(t, *o)
		synctest.Wait()
		pass(fetchGap)
		p.publishes(edJWK("d"), ecJWK("e"))
		authenticates(t, j, ecKey(), `{"alg":"ES256","kid":"e"}`)
		require.EqualValues(t, 2, p.asked.Load())

		for range 1000 {
			requireRefused(t, j, signed(ecKey(), `{"alg":"ES256","kid":"made up"}`, with(nil)), ErrUnauthorized)
		}
		require.EqualValues(t, 2, p.asked.Load())
		pass(fetchGap)
		var crowd sync.WaitGroup
		for range 100 {
			crowd.Go(func() {
				_, err := j.Authenticate(t.Context(), signed(ecKey(), `{"alg":"ES256","kid":"made up"}`, with(nil)))
				if !errors.Is(err, ErrUnauthorized) {
					t.Errorf("got %v", err)
				}
			})
		}
		crowd.Wait()
		require.EqualValues(t, 3, p.asked.Load())
		requireRefused(t, j, signed(ecKey(), `{"alg":"HS256","kid":"made up"}`, with(nil)), ErrUnauthorized)
	})
}

// TestJWKSSlowProvider: a token waits for the fetch for a bounded time, and a caller
// that gives up does not end the fetch for others.
func TestJWKSSlowProvider(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider, o *JWTOptions) {
		held := make(chan struct{})
		p.answers(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-held:
				p.publishes(edJWK("d"))
				(*p.answer.Load())(w, r)
			case <-r.Context().Done():
			}
		})
		j := newJWT(t, *o)
		token := signed(edKey(), `{"alg":"EdDSA","kid":"d"}`, with(nil))

		began := time.Now()
		requireRefused(t, j, token, ErrUnavailable)
		require.Equal(t, maxWait, time.Since(began))

		leaving, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := j.Authenticate(leaving, token)
			left <- err
		}()
		stayed := make(chan error)
		go func() {
			_, err := j.Authenticate(t.Context(), token)
			stayed <- err
		}()
		synctest.Wait()
		leave()
		require.ErrorIs(t, <-left, ErrUnavailable)
		close(held)
		require.NoError(t, <-stayed)
		require.EqualValues(t, 1, p.asked.Load())
	})
}

// TestJWKSCloseEndsAFetch: Close does not wait for a provider that hangs.
func TestJWKSCloseEndsAFetch(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider, o *JWTOptions) {
		p.answers(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		o.JWKS.OnError = strict(t) // the end is no failure
		j := newJWT(t, *o)
		synctest.Wait()
		began := time.Now()
		var closers sync.WaitGroup
		for range 3 {
			closers.Go(func() { _ = j.Close() })
		}
		closers.Wait()
		require.Zero(t, time.Since(began))
	})
}

// TestJWKSBesideKeys: static keys are used while the provider is unavailable.
func TestJWKSBesideKeys(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider, o *JWTOptions) {
		p.breaks()
		o.Keys = []Key{{ID: "own", Key: &ecKey().PublicKey}, {Key: secret}}
		j := newJWT(t, *o)
		authenticates(t, j, ecKey(), `{"alg":"ES256","kid":"own"}`)
		authenticates(t, j, secret, hs256)
		requireRefused(t, j, signed(edKey(), `{"alg":"EdDSA","kid":"d"}`, with(nil)), ErrUnavailable)
		p.publishes(edJWK("d"))
		pass(fetchGap)
		asked := p.asked.Load()
		authenticates(t, j, secret, `{"alg":"HS256","kid":"made up"}`)
		require.Equal(t, asked, p.asked.Load(), "a secret is no affair of the provider's")
		authenticates(t, j, edKey(), `{"alg":"EdDSA","kid":"d"}`)
	})
}
