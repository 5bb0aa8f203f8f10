package cli

import (
	"context"
	"errors"
	"net"
	"net/url"
	"regexp"
	"time"

	"github.com/pay-theory/streamer/client-go"
)

// connection holds the flags that name a server and a token for it.
type connection struct {
	URL string `group:"Connection:" env:"STREAMER_URL" default:"ws://127.0.0.1:8080" placeholder:"URL" help:"The server: ws, wss, http or https. Default: ${default}"`
	access
}

const (
	connectTimeout = 10 * time.Second
	closeTimeout   = 2 * time.Second
)

// dial connects, and fails at the first failure. onState may be nil. The client
// must be closed by disconnect.
func (f *connection) dial(ctx context.Context, onState func(client.State)) (*client.Client, error) {
	server, err := url.Parse(f.URL)
	if err != nil {
		return nil, usageFailure("the server's URL cannot be parsed", "it looks like wss://example.com/ws")
	}
	source, err := f.tokenSource(server)
	if err != nil {
		return nil, err
	}
	c, err := client.Dial(ctx, f.URL, &client.Options{Token: source.fetch, ConnectTimeout: connectTimeout, OnState: onState})
	if err == nil {
		return c, nil
	}
	var e *client.Error
	switch {
	case interrupted(ctx):
		return nil, errInterrupted
	case !errors.As(err, &e):
		return nil, usageFailure(clean(err.Error()), "") // the client refuses the URL
	}
	why := codedFailure(e)
	switch e.Code {
	case client.CodeUnauthorized, client.CodeTokenExpired:
		why.hint = source.hint
	case client.CodeUnavailable:
		why.hint = "check --url and the network"
		if isLoopback(server.Hostname()) {
			why.hint = "is it running? `streamer demo` starts one; --url names another"
		}
	}
	return nil, why
}

// disconnect closes the connection in good order.
func disconnect(c *client.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = c.Close(ctx) // after a timeout it is closed all the same
}

// isLoopback reports whether a host name is that of this machine.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// callID is a call's id on the command line.
type callID string

var uuid7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *callID) UnmarshalText(text []byte) error {
	if !uuid7.Match(text) {
		return errors.New("a call's id must be a UUIDv7 in lower case, such as 01890a5d-ac96-774b-bcce-b302099a8057")
	}
	*id = callID(text)
	return nil
}
