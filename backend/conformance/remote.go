package conformance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/wire"
)

const (
	// handshakeTime bounds a connect, and the making of a token.
	handshakeTime = time.Minute
	// refusalBytes is how much of a refusal's body is read.
	refusalBytes = 64 << 10
)

// RemoteOptions says where a server is, and who connects to it.
type RemoteOptions struct {
	// URL is the server's, beginning with ws:// or wss://.
	URL string
	// Mint makes a valid token of an identity; the target forges it if need
	// be. Nil: all connect without a token.
	Mint func(ctx context.Context, who Identity) (string, error)
	// Dialer opens connections. Nil: gorilla's.
	Dialer *websocket.Dialer
	// OnFrame, if it is not nil, is called with each text frame that comes, after
	// it was put where Recv finds it.
	OnFrame func(frame []byte)
}

// Remote is a server that is reached by its URL, as a target. It has the
// abilities Handshake, Frames and Stall. The server may have been used before: give
// each transcript its own tenants by Options.Prefix. It is safe for concurrent
// use.
type Remote struct{ options RemoteOptions }

// NewRemote returns a target. It does not connect.
func NewRemote(o *RemoteOptions) *Remote { return &Remote{*o} }

// Abilities returns what can be done to a server from outside.
func (r *Remote) Abilities() []Ability {
	return []Ability{AbilityHandshake, AbilityFrames, AbilityStall}
}

// Connect opens a connection the way an identity says: with its subprotocols, and
// with its token where it brings it.
func (r *Remote) Connect(ctx context.Context, who Identity) (Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	token := ""
	if who.Defect != Missing && r.options.Mint != nil {
		var err error
		if token, err = r.mintToken(ctx, who); err != nil {
			return nil, err
		}
	}
	d := *cmp.Or(r.options.Dialer, websocket.DefaultDialer)
	d.Subprotocols = slices.Clone(who.Offers)
	if len(who.Offers) == 0 {
		d.Subprotocols = []string{wire.Subprotocol}
	}
	header := http.Header{}
	switch {
	case token == "":
	case who.Via == ViaSubprotocol:
		d.Subprotocols = append(d.Subprotocols, wire.BearerPrefix+token)
	default:
		header.Set("Authorization", "Bearer "+token)
	}
	ws, response, err := d.DialContext(ctx, r.options.URL, header)
	if response != nil {
		defer func() { _ = response.Body.Close() }()
	}
	switch {
	case errors.Is(err, websocket.ErrBadHandshake) && response != nil:
		return nil, readRefusal(response)
	case err != nil:
		return nil, err
	case ws.Subprotocol() != wire.Subprotocol:
		_ = ws.Close()
		return nil, fmt.Errorf("the server picked the subprotocol %q, expected %q", ws.Subprotocol(), wire.Subprotocol)
	}
	return newSocket(ws, r.options.OnFrame), nil
}

// readRefusal returns why a handshake was refused.
func readRefusal(response *http.Response) error {
	var body struct{ Code string }
	_ = json.NewDecoder(io.LimitReader(response.Body, refusalBytes)).Decode(&body) // without a code no pattern matches
	return &Refusal{Status: response.StatusCode, Code: body.Code, RetryAfter: response.Header.Get("Retry-After") != ""}
}

// Token returns a new token.
func (r *Remote) Token(who Identity) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	return r.mintToken(ctx, who)
}

func (r *Remote) mintToken(ctx context.Context, who Identity) (string, error) {
	if r.options.Mint == nil {
		return "", errors.New("there is nothing to make tokens with")
	}
	defect := who.Defect
	who.Defect = ""
	token, err := r.options.Mint(ctx, who)
	if err != nil || defect != Forged {
		return token, err
	}
	return forge(token), nil
}

// forge changes a token near its end, where the signature of a JWT is. To
// change the last character would not be enough: some of its bits may mean
// nothing.
func forge(token string) string {
	if len(token) < 8 {
		return "forged"
	}
	at := len(token) - 8
	other := "A"
	if token[at] == 'A' {
		other = "B"
	}
	return token[:at] + other + token[at+1:]
}

// Close does nothing: the server continues, and the player has cut its
// connections.
func (*Remote) Close() error { return nil }
