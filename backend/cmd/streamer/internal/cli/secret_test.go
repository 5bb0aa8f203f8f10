package cli

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSecretIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	_, err := readSecret(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	var all [8][]byte
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			var err error
			all[i], err = ensureSecret(dir)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	for _, s := range all {
		require.GreaterOrEqual(t, len(s), auth.MinSecret)
		require.Equal(t, all[0], s, "they start together")
	}
	requireMode(t, filepath.Join(dir, secretFile), 0o600)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	assert.Len(t, left, 1)
}

func TestSecretIsChecked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, secretFile)
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("x", 40)), 0o600))
	_, err := readSecret(dir)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.NoError(t, os.Chmod(path, 0o640))
		_, err := readSecret(dir)
		require.ErrorContains(t, err, "may be read by others")
		for _, args := range [][]string{{"demo", "--port", "0", "--admin-port", "0"}, {"token"}, {"list"}} {
			run(t, exitFailed, append(args, "--dir", dir)...)
		}
	}
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, []byte("short\n"), 0o600))
	_, err = ensureSecret(dir)
	require.ErrorContains(t, err, "too short")
}

// identityOf returns the identity in a token.
func identityOf(t *testing.T, secret []byte, token string) auth.Identity {
	t.Helper()
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{Secret: secret})
	require.NoError(t, err)
	authenticator, err := issuer.Authenticator()
	require.NoError(t, err)
	id, err := authenticator.Authenticate(t.Context(), strings.TrimSpace(token))
	require.NoError(t, err, token)
	return id
}

func TestTokenCommand(t *testing.T) {
	dir := t.TempDir()
	mustContain(t, run(t, exitUsage, "token", "--dir", dir).err.String(), "there is no secret", "streamer demo")
	secret, err := ensureSecret(dir)
	require.NoError(t, err)
	id := identityOf(t, secret, run(t, exitOK, "token", "--dir", dir).out.String())
	assert.Equal(t, []string{demoTenant, demoSubject}, []string{id.Tenant, id.Subject})
	assert.Empty(t, id.Scopes)
	assert.LessOrEqual(t, time.Until(id.Expires), time.Hour+time.Minute)
	own := strings.Repeat("s", 32)
	p := run(t, exitOK, "token", "--secret", own, "--tenant", "acme", "--subject", "ada", "-s", "b", "-s", "a", "--ttl", "2h")
	id = identityOf(t, []byte(own), p.out.String())
	assert.Equal(t, []string{"acme", "ada", "a", "b"}, append([]string{id.Tenant, id.Subject}, id.Scopes...))
	assert.GreaterOrEqual(t, time.Until(id.Expires), 119*time.Minute)
	t.Setenv("STREAMER_SECRET", own)
	identityOf(t, []byte(own), run(t, exitOK, "token", "--dir", dir).out.String())
	for _, bad := range [][]string{{"--secret", "short"}, {"--ttl", "0.5s"}, {"--ttl", "9999h"}, {"--tenant", ""}} {
		p := run(t, exitUsage, append([]string{"token"}, bad...)...)
		assert.NotContains(t, p.err.String(), own, "the secret is printed")
	}
}

// Tokens are made only for servers on this machine.
func TestTokensAreMadeForLoopbackOnly(t *testing.T) {
	dir := t.TempDir()
	_, err := ensureSecret(dir)
	require.NoError(t, err)
	for target, want := range map[string]bool{
		"ws://127.0.0.1:8080": true, "ws://localhost": true, "ws://[::1]:80/ws": true, "wss://127.3.2.1": true,
		"ws://example.com": false, "ws://10.0.0.1": false, "ws://localhost.example.com": false, "ws://0.0.0.0": false,
	} {
		u, err := url.Parse(target)
		require.NoError(t, err)
		source, err := (&access{Dir: dir}).tokenSource(u)
		require.NoError(t, err)
		assert.Equal(t, want, source.fetch != nil, "%s: a token is made", target)
	}
	u, _ := url.Parse("ws://example.com")
	source, err := (&access{Dir: dir, Token: "given"}).tokenSource(u)
	require.NoError(t, err)
	token, err := source.fetch(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "given", token)
}
