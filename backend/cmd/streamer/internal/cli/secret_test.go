package cli

import (
	"bytes"
	"context"
	"errors"
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
)

func TestSecretIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	if _, err := readSecret(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder has a secret: %v", err)
	}
	var all [8][]byte
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			var err error
			if all[i], err = ensureSecret(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range all {
		if len(s) < auth.MinSecret || !bytes.Equal(s, all[0]) {
			t.Fatalf("started together, they get %q", all)
		}
	}
	info, err := os.Stat(filepath.Join(dir, secretFile))
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v", left, err)
	}
}

func TestSecretIsChecked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, secretFile)
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 40)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readSecret(dir); err != nil {
		t.Error(err)
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := readSecret(dir); err == nil || !strings.Contains(err.Error(), "may be read by others") {
			t.Errorf("a secret that others may read: %v", err)
		}
		for _, args := range [][]string{{"demo", "--port", "0", "--admin-port", "0"}, {"token"}, {"list"}} {
			newProgram("").start(append(args, "--dir", dir)...).wait(t, exitFailed)
		}
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("short\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := ensureSecret(dir); err == nil || !strings.Contains(err.Error(), "too short") {
		t.Errorf("a short secret: %v", err)
	}
}

// identityOf returns the identity in a token.
func identityOf(t *testing.T, secret []byte, token string) auth.Identity {
	t.Helper()
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	authenticator, err := issuer.Authenticator()
	if err != nil {
		t.Fatal(err)
	}
	id, err := authenticator.Authenticate(t.Context(), strings.TrimSpace(token))
	if err != nil {
		t.Fatalf("%s is refused: %v", token, err)
	}
	return id
}

func TestTokenCommand(t *testing.T) {
	dir := t.TempDir()
	mustContain(t, newProgram("").start("token", "--dir", dir).wait(t, exitUsage).err.String(), "there is no secret", "streamer demo")
	secret, err := ensureSecret(dir)
	if err != nil {
		t.Fatal(err)
	}
	id := identityOf(t, secret, newProgram("").start("token", "--dir", dir).wait(t, exitOK).out.String())
	if id.Tenant != demoTenant || id.Subject != demoSubject || len(id.Scopes) != 0 || time.Until(id.Expires) > time.Hour+time.Minute {
		t.Errorf("the token is %+v", id)
	}
	own := strings.Repeat("s", 32)
	p := newProgram("").start("token", "--secret", own, "--tenant", "acme", "--subject", "ada", "-s", "b", "-s", "a", "--ttl", "2h").wait(t, exitOK)
	id = identityOf(t, []byte(own), p.out.String())
	if id.Tenant != "acme" || id.Subject != "ada" || strings.Join(id.Scopes, " ") != "a b" || time.Until(id.Expires) < 119*time.Minute {
		t.Errorf("the token is %+v", id)
	}
	t.Setenv("STREAMER_SECRET", own)
	identityOf(t, []byte(own), newProgram("").start("token", "--dir", dir).wait(t, exitOK).out.String())
	for _, bad := range [][]string{{"--secret", "short"}, {"--ttl", "0.5s"}, {"--ttl", "9999h"}, {"--tenant", ""}} {
		p := newProgram("").start(append([]string{"token"}, bad...)...).wait(t, exitUsage)
		if strings.Contains(p.err.String(), own) {
			t.Error("the secret is printed")
		}
	}
}

// Tokens are made only for servers on this machine.
func TestTokensAreMadeForLoopbackOnly(t *testing.T) {
	dir := t.TempDir()
	if _, err := ensureSecret(dir); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]bool{
		"ws://127.0.0.1:8080": true, "ws://localhost": true, "ws://[::1]:80/ws": true, "wss://127.3.2.1": true,
		"ws://example.com": false, "ws://10.0.0.1": false, "ws://localhost.example.com": false, "ws://0.0.0.0": false,
	} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		source, err := (&access{Dir: dir}).tokenSource(u)
		if err != nil || (source.fetch != nil) != want {
			t.Errorf("%s: a token is made: %v, %v", target, source.fetch != nil, err)
		}
	}
	u, _ := url.Parse("ws://example.com")
	source, err := (&access{Dir: dir, Token: "given"}).tokenSource(u)
	if err != nil {
		t.Fatal(err)
	}
	if token, err := source.fetch(context.Background()); token != "given" || err != nil {
		t.Errorf("the given token became %q, %v", token, err)
	}
}
