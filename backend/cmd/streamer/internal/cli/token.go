package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
)

// tokenCommand makes development tokens.
type tokenCommand struct {
	Tenant  string        `default:"demo" placeholder:"NAME" help:"Tenant. Default: ${default}"`
	Subject string        `default:"developer" placeholder:"NAME" help:"User or machine inside the tenant. Default: ${default}"`
	Scope   []string      `short:"s" placeholder:"SCOPE" help:"A scope; may be given several times. Operators need streamer:operate."`
	TTL     time.Duration `name:"ttl" default:"1h" placeholder:"TIME" help:"How long the token lives, 1s to 720h. Default: ${default}"`
	Secret  string        `env:"STREAMER_SECRET" placeholder:"TEXT" help:"Secret of the server, at least 32 bytes. Default: the demo's."`
	Dir     string        `env:"STREAMER_DIR" default:".streamer" placeholder:"DIR" help:"Folder of the demo, where its secret is. Default: ${default}"`
}

// Help is the longer help.
func (*tokenCommand) Help() string {
	return `The token is signed with a secret that the server shares (HS256). In production an identity provider makes tokens, and servers know its public keys only.`
}

// Run prints a token and nothing else.
func (k *tokenCommand) Run(a *App) error {
	secret := []byte(k.Secret)
	if k.Secret == "" {
		var err error
		secret, err = readSecret(k.Dir)
		if errors.Is(err, fs.ErrNotExist) {
			return usage("there is no secret in "+filepath.Join(k.Dir, secretFile), "`streamer demo` makes one; or give --secret or STREAMER_SECRET")
		}
		if err != nil {
			return err
		}
	}
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{Secret: secret, Now: a.Now})
	if err != nil {
		return usage(err.Error(), "")
	}
	token, err := issuer.Mint(auth.Grant{Tenant: k.Tenant, Subject: k.Subject, Scopes: k.Scope, TTL: k.TTL})
	if err != nil {
		return usage(err.Error(), "")
	}
	_, err = fmt.Fprintln(a.Stdout, token)
	return err
}
