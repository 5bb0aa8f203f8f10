package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/conformance"
)

// probe is played first, so that what is wrong with all transcripts is said
// once.
const probe = `{
  "tests": "server",
  "shows": "There is a server, with the fixed actions.",
  "covers": ["R-inline"],
  "identities": {"probe": {"tenant": "probe", "subject": "probe"}},
  "ids": {"call": 0},
  "steps": [
    {"connect": "probe"},
    {"send": {"type": "request", "id": "$call", "action": "echo", "payload": "probe"}},
    {"expect": {"type": "result", "id": "$call", "payload": "probe"}}
  ]
}`

// serverPlayer returns what plays one transcript against the server, which it
// has tried out.
func (k *conformCommand) serverPlayer(ctx context.Context, a *App) (func(context.Context, *conformance.Transcript) error, error) {
	address, err := wsURL(k.URL)
	if err != nil {
		return nil, err
	}
	mint, err := k.mint(address, a.Now)
	if err != nil {
		return nil, err
	}
	options := &conformance.RemoteOptions{URL: address.String(), Mint: k.aged(mint), Wait: k.Wait}
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the program instead
	var played atomic.Int64
	play := func(ctx context.Context, t *conformance.Transcript) error {
		prefix := fmt.Sprintf("conform-%s-%d-", hex.EncodeToString(random[:]), played.Add(1))
		return conformance.Run(ctx, t, conformance.NewRemote(t, options), &conformance.Options{Prefix: prefix})
	}
	return play, k.tryOut(ctx, options, play)
}

// wsURL reads the server's URL.
func wsURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, usage("the server's URL cannot be parsed", "it looks like wss://example.com/ws")
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	case "ws", "wss":
	default:
		return nil, usage("the server's URL begins with ws, wss, http or https", "")
	}
	return u, nil
}

// tryOut connects once, and calls the simplest action.
func (k *conformCommand) tryOut(ctx context.Context, o *conformance.RemoteOptions, play func(context.Context, *conformance.Transcript) error) error {
	t, err := conformance.Parse("probe", []byte(probe))
	if err != nil {
		return err
	}
	target := conformance.NewRemote(t, o)
	conn, err := target.Connect(ctx, conformance.Identity{Tenant: "conform", Subject: "probe"})
	if err == nil {
		conn.Cut()
	}
	_ = target.Close() // it has no error of its own
	var refusal *conformance.Refusal
	var f *failure
	switch {
	case interrupted(ctx):
		return errInterrupted
	case errors.As(err, &f):
		return f
	case errors.As(err, &refusal) && refusal.Status/100 == 4:
		hint := "--secret or --token-command says how to make tokens for it"
		if k.Secret != "" || k.Command != "" {
			hint = "are these the tokens that it trusts?"
		}
		return &failure{exit: exitRefused, text: fmt.Sprintf("the server refused the connection: %d %s", refusal.Status, clean(refusal.Code)), hint: hint}
	case err != nil:
		return &failure{exit: exitUnavailable, text: "the server cannot be reached: " + clean(err.Error()), hint: "is it running? `streamer demo` starts one that has the fixed actions"}
	}
	err = play(ctx, t)
	var missed *conformance.Failure
	if errors.As(err, &missed) && strings.Contains(missed.Came, `"unknown_action"`) {
		return failed("the server does not have the fixed actions", "for Go they are the package backend/conformance/actions; contract/sessions/README.md describes them", nil)
	}
	if err != nil {
		return failed("the server does not answer the simplest call", "", err)
	}
	return nil
}

// mint returns what makes tokens, or nil where nothing does.
func (k *conformCommand) mint(server *url.URL, now func() time.Time) (func(context.Context, conformance.Identity) (string, error), error) {
	switch {
	case k.Command != "" && k.Secret != "":
		return nil, usage("--secret and --token-command are two ways to make tokens: give one", "")
	case k.Command != "":
		words, err := splitWords(k.Command)
		if err != nil {
			return nil, usage("--token-command: "+err.Error(), "")
		}
		return tokenProgram(words).mint, nil
	}
	secret := []byte(k.Secret)
	if k.Secret == "" {
		if !loopback(server.Hostname()) {
			return nil, nil
		}
		var err error
		secret, err = readSecret(k.Dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil // the server may take everybody, or tell that it does not
		}
		if err != nil {
			return nil, err
		}
	}
	if _, err := auth.NewIssuer(&auth.IssuerOptions{Secret: secret}); err != nil {
		return nil, usage(err.Error(), "")
	}
	return func(_ context.Context, who conformance.Identity) (string, error) {
		return mintBySecret(secret, who, now)
	}, nil
}

// aged makes tokens whose expiry matters so much older that the server, which
// takes them for a while longer, refuses them when the transcript expects it.
func (k *conformCommand) aged(mint func(context.Context, conformance.Identity) (string, error)) func(context.Context, conformance.Identity) (string, error) {
	if mint == nil {
		return nil
	}
	return func(ctx context.Context, who conformance.Identity) (string, error) {
		if who.ExpiresInMs != 0 {
			who.ExpiresInMs -= k.Leeway.Milliseconds()
			if who.ExpiresInMs == 0 {
				who.ExpiresInMs = -1 // 0 would be the default
			}
		}
		return mint(ctx, who)
	}
}

// mintBySecret makes a token; one that is to have expired was made long enough
// ago.
func mintBySecret(secret []byte, who conformance.Identity, now func() time.Time) (string, error) {
	ttl, at := who.Expiry(), now
	if ttl <= 0 {
		back := time.Second - ttl
		ttl, at = time.Second, func() time.Time { return now().Add(-back) }
	}
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{Secret: secret, Now: at})
	if err != nil {
		return "", err
	}
	return issuer.Mint(auth.Grant{Tenant: who.Tenant, Subject: who.Subject, Scopes: who.Scopes, TTL: ttl})
}

// tokenProgram is a command that prints tokens.
type tokenProgram []string

func (p tokenProgram) mint(ctx context.Context, who conformance.Identity) (string, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, p[0], p[1:]...) //nolint:gosec // the user's own command line
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(),
		"STREAMER_TENANT="+who.Tenant, "STREAMER_SUBJECT="+who.Subject, "STREAMER_SCOPES="+strings.Join(who.Scopes, " "),
		"STREAMER_EXPIRES_IN="+strconv.FormatInt(int64(who.Expiry()/time.Second), 10))
	if err := cmd.Run(); err != nil {
		return "", failed("the token command, "+filepath.Base(p[0]), "", fmt.Errorf("%w: %s", err, fit(clean(said.String()), 300)))
	}
	token := strings.TrimSpace(out.String())
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", failed("the token command did not print a token, and nothing else", "", nil)
	}
	return token, nil
}
