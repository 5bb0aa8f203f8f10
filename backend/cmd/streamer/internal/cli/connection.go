package cli

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"time"

	"github.com/pay-theory/streamer/client-go"
)

// connection is the server that a command speaks to.
type connection struct {
	URL string `group:"Connection:" env:"STREAMER_URL" default:"ws://127.0.0.1:8080" placeholder:"URL" help:"The server: ws, wss, http or https. Default: ${default}"`
	access
}

const (
	// connectWait bounds an attempt to connect.
	connectWait = 10 * time.Second
	// farewell bounds the goodbye to a server.
	farewell = 2 * time.Second
)

// dial connects, and gives up at the first failure. onState may be nil. The
// client must be closed by hangUp.
func (f *connection) dial(ctx context.Context, onState func(client.State)) (*client.Client, error) {
	server, err := url.Parse(f.URL)
	if err != nil {
		return nil, usage("the server's URL cannot be parsed", "it looks like wss://example.com/ws")
	}
	source, err := f.tokens(server)
	if err != nil {
		return nil, err
	}
	c, err := client.Dial(ctx, f.URL, &client.Options{Token: source.fetch, ConnectTimeout: connectWait, OnState: onState})
	if err == nil {
		return c, nil
	}
	var e *client.Error
	switch {
	case interrupted(ctx):
		return nil, errInterrupted
	case !errors.As(err, &e):
		return nil, usage(clean(err.Error()), "") // the URL is none that a server can have
	}
	why := answered(e)
	switch e.Code {
	case client.CodeUnauthorized, client.CodeTokenExpired:
		why.hint = source.hint
	case client.CodeUnavailable:
		if loopback(server.Hostname()) {
			why.hint = "is it running? `streamer demo` starts one; another server is named by --url"
		} else {
			why.hint = "check --url and the network"
		}
	}
	return nil, why
}

// hangUp says goodbye to the server.
func hangUp(c *client.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	_ = c.Close(ctx) // then it was cut, and nothing is lost by that
}

// callID is a call's id on the command line.
type callID string

var uuid7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *callID) UnmarshalText(text []byte) error {
	if !uuid7.Match(text) {
		return errors.New("a call's id is a UUIDv7 in lower case, such as 01890a5d-ac96-774b-bcce-b302099a8057")
	}
	*id = callID(text)
	return nil
}
