package cli

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"path/filepath"

	"github.com/pay-theory/streamer/backend/auth"
)

// Whom development tokens speak for unless they are told otherwise.
const (
	demoTenant  = "demo"
	demoSubject = "developer"
)

// access is who a command speaks as.
type access struct {
	Token string `group:"Connection:" env:"STREAMER_TOKEN" placeholder:"JWT" help:"Token to connect with. Default: for a server on this machine, one made with the demo's secret, if there is one."`
	Dir   string `group:"Connection:" env:"STREAMER_DIR" default:".streamer" placeholder:"DIR" help:"Folder of the demo, where its secret is."`
}

// tokens says where a command's tokens come from.
type tokens struct {
	// fetch returns a token to connect with now. Nil: there are none.
	fetch func(ctx context.Context) (string, error)
	// hint is what to do when the server refuses them.
	hint string
}

// tokens finds a source of tokens for a server. scopes are for those that are
// made here.
func (a *access) tokens(server *url.URL, scopes ...string) (tokens, error) {
	if a.Token != "" {
		given := a.Token
		return tokens{
			fetch: func(context.Context) (string, error) { return given, nil },
			hint:  "the token came from --token or STREAMER_TOKEN",
		}, nil
	}
	none := tokens{hint: "give a token by --token or STREAMER_TOKEN"}
	if !loopback(server.Hostname()) {
		return none, nil
	}
	secret, err := readSecret(a.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		none.hint += "; there is no demo's secret in " + a.Dir
		return none, nil
	}
	if err != nil {
		return none, err
	}
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{Secret: secret})
	if err != nil {
		return none, err
	}
	return tokens{
		fetch: func(context.Context) (string, error) {
			return issuer.Mint(auth.Grant{Tenant: demoTenant, Subject: demoSubject, Scopes: scopes})
		},
		hint: "the token was made with " + filepath.Join(a.Dir, secretFile) + ", which may be another server's",
	}, nil
}

// loopback tells whether a host name is this machine's own.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
