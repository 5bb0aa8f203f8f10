package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

// Defaults and bounds of JWKSOptions, and of what is fetched.
const (
	DefaultRefresh = time.Hour
	MinRefresh     = time.Minute

	fetchTimeout = 10 * time.Second
	// maxWait is how long one token waits for a fetch.
	maxWait = 5 * time.Second
	// fetchGap is the minimum time between fetches that tokens with unknown key
	// ids cause, because any client can make such tokens. A younger set counts as
	// complete: providers publish a key long before they sign with it.
	fetchGap = 10 * time.Second
	// retryGap is the time from a failed fetch to the next.
	retryGap     = 30 * time.Second
	maxKeySet    = 1 << 20
	maxRemote    = 64
	maxRedirects = 3
)

// JWKSOptions say where an identity provider publishes its keys.
type JWKSOptions struct {
	// URL is the address of the JWK Set. It must be https; plain http is allowed
	// for loopback addresses only.
	URL string
	// Refresh is the time between fetches. Default 1 h, at least 1 min. A token
	// with an unknown key id causes an additional fetch, at most one in 10 s.
	// When a fetch fails, or returns no usable key, the present keys stay in use.
	Refresh time.Duration
	// Client makes the requests. It follows redirects only to https, or to
	// loopback addresses. Default: a new client with a timeout of 10 s.
	Client *http.Client
	// OnError is called with the reason of a failed fetch. It must not block. Default: a
	// warning to slog.Default.
	OnError func(error)
}

// keySet is a JWK Set that is fetched periodically. jwkset decodes it and keyfunc
// picks keys; keySet decides when to fetch and which keys to trust.
type keySet struct {
	options JWKSOptions
	trusted *trustedKeys
	pick    keyfunc.Keyfunc

	stop    context.CancelFunc
	stopped context.Context
	running sync.WaitGroup

	mu     sync.Mutex
	flight chan struct{} // closed when the running fetch has ended; nil: none runs
	tried  time.Time     // when the last fetch ended; zero: none has
	failed bool          // whether it failed
}

func newKeySet(o *JWKSOptions) (*keySet, error) {
	if err := checkURL(o.URL); err != nil {
		return nil, err
	}
	s := &keySet{options: *o, trusted: &trustedKeys{MemoryJWKSet: jwkset.NewMemoryStorage()}}
	s.options.Refresh = cmp.Or(o.Refresh, DefaultRefresh)
	if s.options.Refresh < MinRefresh {
		return nil, fmt.Errorf("a JWKS refresh is at least %s", MinRefresh)
	}
	if o.OnError == nil {
		s.options.OnError = func(err error) { slog.Default().Warn("the keys of tokens could not be fetched", "error", err) }
	}
	s.options.Client = boundedClient(o.Client)
	var err error
	if s.pick, err = keyfunc.New(keyfunc.Options{Storage: s.trusted}); err != nil {
		return nil, err
	}
	s.stopped, s.stop = context.WithCancel(context.Background())
	first := s.fetch() // before any token can cause another one
	s.running.Go(func() { s.refreshLoop(first) })
	return s, nil
}

// checkURL accepts only addresses from which keys cannot be changed in transit.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return errors.New("the JWKS URL is not an absolute URL")
	}
	if u.User != nil {
		return errors.New("the JWKS URL holds no credentials")
	}
	return checkOrigin(u)
}

func checkOrigin(u *url.URL) error {
	if u.Scheme == "https" {
		return nil
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return errors.New("keys are fetched by https only, except from a loopback address")
}

// boundedClient returns a copy of the given client, bounded in bytes and redirects.
func boundedClient(given *http.Client) *http.Client {
	client := &http.Client{Timeout: fetchTimeout}
	if given != nil {
		*client = *given
	}
	transport := client.Transport
	if transport == nil {
		// One fetch an hour does not justify an idle connection.
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true}
	}
	client.Transport = boundedTransport{transport}
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return errors.New("too many redirects")
		}
		return checkOrigin(r.URL)
	}
	return client
}

// refreshLoop fetches each time that a refresh is due, from the end of the first
// fetch on.
func (s *keySet) refreshLoop(fetched <-chan struct{}) {
	for {
		select {
		case <-fetched:
		case <-s.stopped.Done():
			return
		}
		wait := s.options.Refresh
		if s.mayLackKeys() {
			wait = min(wait, retryGap)
		}
		select {
		case <-time.After(wait):
			fetched = s.fetch()
		case <-s.stopped.Done():
			return
		}
	}
}

// fetch starts a fetch unless one is running, and returns a channel that is
// closed at its end. The fetch does not depend on the context of a caller, so a
// caller that gives up does not end it for the others.
func (s *keySet) fetch() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	done := make(chan struct{})
	if s.stopped.Err() != nil {
		close(done)
		return done
	}
	s.flight = done
	s.running.Go(func() {
		err := s.fetchOnce()
		s.mu.Lock()
		s.flight, s.tried, s.failed = nil, time.Now(), err != nil
		s.mu.Unlock()
		close(done)
		if err != nil && s.stopped.Err() == nil {
			s.options.OnError(err)
		}
	})
	return done
}

// fetchOnce fetches the set into s.trusted.
func (s *keySet) fetchOnce() error {
	ctx, cancel := context.WithTimeout(s.stopped, fetchTimeout)
	defer cancel()
	// A storage without a refresh interval fetches once and starts no goroutine.
	_, err := jwkset.NewStorageFromHTTP(s.options.URL, jwkset.HTTPClientStorageOptions{
		Client: s.options.Client, Ctx: ctx, HTTPTimeout: fetchTimeout, Storage: s.trusted,
	})
	return err
}

// keysFor returns the published keys that may have signed the token.
func (s *keySet) keysFor(ctx context.Context, t *jwt.Token, h header) ([]jwt.VerificationKey, error) {
	if !s.trusted.contains(ctx, h.keyID) {
		if err := s.renew(ctx); err != nil {
			return nil, err
		}
	}
	if !s.trusted.contains(ctx, h.keyID) {
		if s.mayLackKeys() {
			return nil, unavailable("the keys that tokens are signed with cannot be fetched")
		}
		return nil, unauthorized("no trusted key has the token's key id and algorithm")
	}
	got, err := s.pick.KeyfuncCtx(ctx)(t)
	if err != nil {
		return nil, unauthorized("no trusted key has the token's key id and algorithm")
	}
	if set, ok := got.(jwt.VerificationKeySet); ok {
		return set.Keys, nil
	}
	return []jwt.VerificationKey{got}, nil
}

// renew waits for a fetch, unless the last one is too young for another.
func (s *keySet) renew(ctx context.Context) error {
	s.mu.Lock()
	young := s.flight == nil && !s.tried.IsZero() && time.Since(s.tried) < fetchGap
	s.mu.Unlock()
	if young {
		return nil
	}
	select {
	case <-s.fetch():
		return nil
	case <-ctx.Done():
	case <-time.After(maxWait):
	}
	return unavailable("the keys that tokens are signed with were not fetched in time")
}

// mayLackKeys reports whether the provider may have keys that the set lacks.
func (s *keySet) mayLackKeys() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed || s.tried.IsZero() || s.stopped.Err() != nil
}

func (s *keySet) close() {
	s.mu.Lock()
	s.stop() // under the lock, so that fetch starts nothing afterwards
	s.mu.Unlock()
	s.running.Wait()
}

// trustedKeys keeps the keys of a fetched set that may verify tokens.
type trustedKeys struct{ *jwkset.MemoryJWKSet }

// KeyReplaceAll replaces the keys by a fetched set. It refuses a set without
// usable keys and keeps the present ones: an issuer without keys could not issue
// tokens, so such a set is probably a mistake.
func (k *trustedKeys) KeyReplaceAll(ctx context.Context, set []jwkset.JWK) error {
	if len(set) > maxRemote {
		return fmt.Errorf("the set holds more than %d keys", maxRemote)
	}
	usable := slices.DeleteFunc(set, func(k jwkset.JWK) bool { return !verifies(k) })
	if len(usable) == 0 {
		return errors.New("the set holds no key that verifies RS256, ES256 or EdDSA")
	}
	return k.MemoryJWKSet.KeyReplaceAll(ctx, usable)
}

// contains reports whether there is a key with this id, or any key if id is empty.
func (k *trustedKeys) contains(ctx context.Context, id string) bool {
	set, _ := k.KeyReadAll(ctx) // in memory: it cannot fail
	return slices.ContainsFunc(set, func(k jwkset.JWK) bool { return id == "" || k.Marshal().KID == id })
}

// verifies reports whether a published key is a strong public key for signatures
// of an accepted algorithm. Secrets and private keys are refused: once published,
// they are public.
func verifies(k jwkset.JWK) bool {
	alg, err := algorithm(k.Key())
	m := k.Marshal()
	return err == nil && alg != HS256 &&
		(m.ALG == "" || m.ALG.String() == alg) &&
		(m.USE == "" || m.USE == jwkset.UseSig) &&
		(len(m.KEYOPS) == 0 || slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify)) &&
		len(m.KID) <= maxKeyID
}

// boundedTransport refuses responses that are longer than any key set.
type boundedTransport struct{ http.RoundTripper }

func (b boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxKeySet)
	return resp, nil
}
