package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
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
	// Mint makes a token of an identity. Its Flaw is none that Mint must know
	// of: what is to be forged is spoilt afterwards. Nil: everybody connects
	// without a token.
	Mint func(ctx context.Context, who Identity) (string, error)
	// Wait is for how long one transcript may wait in place of moving the
	// clock. Zero: transcripts that move it are not played.
	Wait time.Duration
	// Dialer opens the connections. Default: gorilla's, with the proxy of the
	// environment.
	Dialer *websocket.Dialer
}

// Remote is a server somewhere, as a target: reached by its URL, with nothing
// done to it but what clients do. It has the abilities Handshake, Frames and
// Stall, and Clock for transcripts that are short enough to be waited for. It
// may have been running for long: give each transcript tenants of its own, by
// Options.Prefix. It is safe for concurrent use.
type Remote struct {
	options  RemoteOptions
	patience patience

	mu      sync.Mutex
	sockets []*Socket
	closed  bool
}

// NewRemote returns a target for one transcript. It does not connect.
func NewRemote(t *Transcript, o *RemoteOptions) *Remote {
	return &Remote{options: *o, patience: patienceFor(t, o.Wait)}
}

// Abilities tells what can be done to a server from afar.
func (r *Remote) Abilities() []Ability {
	return append(r.patience.abilities(), AbilityHandshake, AbilityFrames, AbilityStall)
}

func (r *Remote) realTime() { r.patience.realTime() }

// Now returns the time.
func (r *Remote) Now() time.Time { return time.Now() }

// Advance waits.
func (r *Remote) Advance(ctx context.Context, d time.Duration) error { return r.patience.wait(ctx, d) }

// Connect opens a connection as somebody.
func (r *Remote) Connect(ctx context.Context, who Identity) (Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	token := ""
	if who.Flaw != Missing && r.options.Mint != nil {
		var err error
		if token, err = r.mint(ctx, who); err != nil {
			return nil, err
		}
	}
	ws, err := DialAs(ctx, r.options.Dialer, r.options.URL, &who, token)
	if err != nil {
		return nil, err
	}
	s := NewSocket(ws, nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		s.Cut()
		return nil, errors.New("the target is closed")
	}
	r.sockets = append(r.sockets, s)
	return s, nil
}

// DialAs opens a connection to a server the way an identity says: what it
// offers, and how it brings its token; an empty token is not brought. A nil
// dialer is gorilla's. Errors: a *Refusal when the server refused the
// handshake.
func DialAs(ctx context.Context, dialer *websocket.Dialer, url string, who *Identity, token string) (*websocket.Conn, error) {
	if dialer == nil {
		dialer = websocket.DefaultDialer
	}
	d := *dialer
	d.Subprotocols = slices.Clone(who.Offers)
	if len(d.Subprotocols) == 0 {
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
	ws, response, err := d.DialContext(ctx, url, header)
	if response != nil {
		defer func() { _ = response.Body.Close() }()
	}
	if err != nil {
		return nil, refusalOf(response, err)
	}
	if got := ws.Subprotocol(); got != wire.Subprotocol {
		_ = ws.Close()
		return nil, fmt.Errorf("the server picked the subprotocol %q, expected %q", got, wire.Subprotocol)
	}
	return ws, nil
}

// refusalOf reads why a handshake was refused.
func refusalOf(response *http.Response, err error) error {
	if response == nil || !errors.Is(err, websocket.ErrBadHandshake) {
		return err
	}
	body, readErr := io.ReadAll(io.LimitReader(response.Body, refusalBytes))
	if readErr != nil {
		return readErr
	}
	var said struct{ Code string }
	if json.Unmarshal(body, &said) != nil {
		said.Code = "" // a server that refuses without a code: the pattern tells
	}
	return &Refusal{Status: response.StatusCode, Code: said.Code, RetryAfter: response.Header.Get("Retry-After") != ""}
}

// Token returns a fresh token.
func (r *Remote) Token(who Identity) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	return r.mint(ctx, who)
}

func (r *Remote) mint(ctx context.Context, who Identity) (string, error) {
	if r.options.Mint == nil {
		return "", errors.New("there is nothing to make tokens with")
	}
	flaw := who.Flaw
	who.Flaw = ""
	token, err := r.options.Mint(ctx, who)
	if err != nil || flaw != Forged {
		return token, err
	}
	return forge(token), nil
}

// forge spoils a token near its end, where the signature of a JWT is. The last
// character alone would not do: some of its bits may mean nothing.
func forge(token string) string {
	b := []byte(token)
	if len(b) < 8 {
		return "forged"
	}
	at := len(b) - 8
	if b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return string(b)
}

// Close cuts all connections. The server lives on.
func (r *Remote) Close() error {
	r.mu.Lock()
	r.closed = true
	sockets := r.sockets
	r.sockets = nil
	r.mu.Unlock()
	for _, s := range sockets {
		s.Cut()
	}
	return nil
}

// patience is a clock for who cannot move time but is ready to wait.
type patience struct{ ready bool }

// patienceFor tells whether a transcript may be waited for.
func patienceFor(t *Transcript, most time.Duration) patience {
	waits := t.Waits()
	return patience{waits > 0 && waits <= most}
}

// realTime says that time passes by itself.
func (patience) realTime() {}

func (p patience) abilities() []Ability {
	if p.ready {
		return []Ability{AbilityClock}
	}
	return nil
}

func (patience) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
