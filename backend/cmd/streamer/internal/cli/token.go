package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
)

// The identity in development tokens, unless flags name another.
const (
	demoTenant  = "demo"
	demoSubject = "developer"
)

// tokenCommand makes development tokens.
type tokenCommand struct {
	Tenant  string        `default:"demo" placeholder:"NAME" help:"Tenant. Default: ${default}"`
	Subject string        `default:"developer" placeholder:"NAME" help:"User or machine inside the tenant. Default: ${default}"`
	Scope   []string      `short:"s" placeholder:"SCOPE" help:"A scope; may be given several times. Operators need streamer:operate."`
	TTL     time.Duration `name:"ttl" default:"1h" placeholder:"TIME" help:"How long the token is valid, 1s to 720h. Default: ${default}"`
	Secret  string        `env:"STREAMER_SECRET" placeholder:"TEXT" help:"Secret of the server, at least 32 bytes. Default: the demo's."`
	Dir     string        `env:"STREAMER_DIR" default:".streamer" placeholder:"DIR" help:"Folder of the demo, which holds its secret. Default: ${default}"`
}

func (*tokenCommand) Help() string {
	return `The token is signed with a secret that the server shares (HS256). In production an identity provider makes tokens, and servers know only its public keys.`
}

// Run prints a token and nothing else.
func (k *tokenCommand) Run(a *App) error {
	secret, err := secretOr(k.Secret, k.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return usageFailure("there is no secret in "+filepath.Join(k.Dir, secretFile), "`streamer demo` makes one; or give --secret or STREAMER_SECRET")
	case err != nil:
		return err
	}
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{Secret: secret, Now: a.Now})
	if err != nil {
		return usageFailure(err.Error(), "")
	}
	token, err := issuer.Mint(auth.Grant{Tenant: k.Tenant, Subject: k.Subject, Scopes: k.Scope, TTL: k.TTL})
	if err != nil {
		return usageFailure(err.Error(), "")
	}
	_, err = fmt.Fprintln(a.Stdout, token)
	return err
}

// access holds the flags that select the token of a connection.
type access struct {
	Token string `group:"Connection:" env:"STREAMER_TOKEN" placeholder:"JWT" help:"Token to connect with. Default: for a server on this machine, one made with the demo's secret, if there is one."`
	Dir   string `group:"Connection:" env:"STREAMER_DIR" default:".streamer" placeholder:"DIR" help:"Folder of the demo, which holds its secret."`
}

// tokenSource is where a command's tokens come from.
type tokenSource struct {
	// fetch returns a token that is valid now. Nil: there are none.
	fetch func(ctx context.Context) (string, error)
	// hint is what to do when the server refuses them.
	hint string
}

// tokenSource finds tokens for a server. scopes are for tokens made here: they
// are made only for servers on this machine.
func (a *access) tokenSource(server *url.URL, scopes ...string) (tokenSource, error) {
	if a.Token != "" {
		given := a.Token
		return tokenSource{
			fetch: func(context.Context) (string, error) { return given, nil },
			hint:  "the token came from --token or STREAMER_TOKEN",
		}, nil
	}
	none := tokenSource{hint: "give a token by --token or STREAMER_TOKEN"}
	if !isLoopback(server.Hostname()) {
		return none, nil
	}
	secret, err := readSecret(a.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		none.hint += "; there is no secret of a demo in " + a.Dir
		return none, nil
	}
	if err != nil {
		return none, err
	}
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{Secret: secret})
	if err != nil {
		return none, err
	}
	return tokenSource{
		fetch: func(context.Context) (string, error) {
			return issuer.Mint(auth.Grant{Tenant: demoTenant, Subject: demoSubject, Scopes: scopes})
		},
		hint: "the token was made with " + filepath.Join(a.Dir, secretFile) + ", which may be another server's",
	}, nil
}
