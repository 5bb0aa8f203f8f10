package cli

import (
	"bytes"
	"context"
	"crypto/rand"
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

// probe is played first, so that a fault that fails every transcript is reported
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

// mintFunc makes a token.
type mintFunc func(context.Context, conformance.Identity) (string, error)

// serverPlayer checks the server, and returns a function that plays one
// transcript against it.
func (k *conformCommand) serverPlayer(ctx context.Context, a *App) (playFunc, error) {
	address, err := parseURL(k.URL)
	if err != nil {
		return nil, err
	}
	mint, err := k.tokenMaker(address, a.Now)
	if err != nil {
		return nil, err
	}
	options := &conformance.RemoteOptions{URL: address.String(), Mint: k.expireEarlier(mint), Wait: k.Wait}
	run := strings.ToLower(rand.Text()[:8]) // for tenants that no other run uses
	var played atomic.Int64
	play := func(ctx context.Context, t *conformance.Transcript) error {
		prefix := fmt.Sprintf("conform-%s-%d-", run, played.Add(1))
		return conformance.Run(ctx, t, conformance.NewRemote(t, options), &conformance.Options{Prefix: prefix})
	}
	return play, k.checkServer(ctx, options, play)
}

// parseURL parses the server's URL.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, usageFailure("the server's URL cannot be parsed", "it looks like wss://example.com/ws")
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	case "ws", "wss":
	default:
		return nil, usageFailure("the server's URL must begin with ws, wss, http or https", "")
	}
	return u, nil
}

// checkServer connects once, and calls the simplest action.
func (k *conformCommand) checkServer(ctx context.Context, o *conformance.RemoteOptions, play playFunc) error {
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
		hint := "give --secret or --token-command to make tokens for it"
		if k.Secret != "" || k.Command != "" {
			hint = "does the server trust these tokens?"
		}
		return &failure{exit: exitRefused, text: fmt.Sprintf("the server refused the connection: %d %s", refusal.Status, clean(refusal.Code)), hint: hint}
	case err != nil:
		return &failure{exit: exitUnavailable, text: "the server cannot be reached: " + clean(err.Error()), hint: "is it running? `streamer demo` starts one that has the fixed actions"}
	}
	var missed *conformance.Failure
	switch err = play(ctx, t); {
	case errors.As(err, &missed) && strings.Contains(missed.Came, `"unknown_action"`):
		return failed("the server does not have the fixed actions", "for Go they are the package backend/conformance/actions; contract/sessions/README.md describes them", nil)
	case err != nil:
		return failed("the server does not answer the simplest call", "", err)
	}
	return nil
}

// tokenMaker returns a function that makes tokens; nil: there is no way to make
// them.
func (k *conformCommand) tokenMaker(server *url.URL, now func() time.Time) (mintFunc, error) {
	switch {
	case k.Command != "" && k.Secret != "":
		return nil, usageFailure("--secret and --token-command are two ways to make tokens: give only one", "")
	case k.Command != "":
		words, err := splitWords(k.Command)
		if err != nil {
			return nil, usageFailure("--token-command: "+err.Error(), "")
		}
		return mintByCommand(words), nil
	}
	if k.Secret == "" && !isLoopback(server.Hostname()) {
		return nil, nil
	}
	secret, err := secretOr(k.Secret, k.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // the server may need no token; if it does, it refuses the probe
	case err != nil:
		return nil, err
	}
	if _, err := auth.NewIssuer(&auth.IssuerOptions{Secret: secret}); err != nil {
		return nil, usageFailure(err.Error(), "")
	}
	return func(_ context.Context, who conformance.Identity) (string, error) {
		return mintBySecret(secret, who, now)
	}, nil
}

// expireEarlier makes the tokens of transcripts about expiry expire earlier by
// the server's leeway, so that it refuses them when the transcript expects it.
func (k *conformCommand) expireEarlier(mint mintFunc) mintFunc {
	if mint == nil {
		return nil
	}
	return func(ctx context.Context, who conformance.Identity) (string, error) {
		if who.ExpiresInMs != 0 {
			who.ExpiresInMs -= k.Leeway.Milliseconds()
			if who.ExpiresInMs == 0 {
				who.ExpiresInMs = -1 // 0 is the default
			}
		}
		return mint(ctx, who)
	}
}

// mintBySecret makes a token. One that must have expired is issued in the past.
func mintBySecret(secret []byte, who conformance.Identity, now func() time.Time) (string, error) {
	ttl, at := who.Expiry(), now
	if ttl <= 0 {
		ago := time.Second - ttl
		ttl, at = time.Second, func() time.Time { return now().Add(-ago) }
	}
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{Secret: secret, Now: at})
	if err != nil {
		return "", err
	}
	return issuer.Mint(auth.Grant{Tenant: who.Tenant, Subject: who.Subject, Scopes: who.Scopes, TTL: ttl})
}

// mintByCommand returns a function that runs a command that prints a token.
func mintByCommand(words []string) mintFunc {
	return func(ctx context.Context, who conformance.Identity) (string, error) {
		var out, errOut bytes.Buffer
		cmd := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // the user's own command line
		cmd.Stdout, cmd.Stderr = &out, &errOut
		cmd.WaitDelay = time.Second
		cmd.Env = append(os.Environ(),
			"STREAMER_TENANT="+who.Tenant, "STREAMER_SUBJECT="+who.Subject, "STREAMER_SCOPES="+strings.Join(who.Scopes, " "),
			"STREAMER_EXPIRES_IN="+strconv.FormatInt(int64(who.Expiry()/time.Second), 10))
		if err := cmd.Run(); err != nil {
			return "", failed("the token command, "+filepath.Base(words[0]), "", fmt.Errorf("%w: %s", err, truncate(clean(errOut.String()), 300)))
		}
		printed := strings.Fields(out.String())
		if len(printed) != 1 {
			return "", failed("the token command must print a token and nothing else", "", nil)
		}
		return printed[0], nil
	}
}
