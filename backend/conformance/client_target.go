package conformance

import (
	"context"
	"encoding/json"
)

// ClientTarget is a client to play against: the player is its server. Each
// transcript gets one of its own, whose token function returns the
// transcript's Tokens one after the other, the last one for ever. A client
// with the ability Clock also implements [Clock]. The player calls it from one
// goroutine.
type ClientTarget interface {
	// Abilities tells what the target can do beyond this interface.
	Abilities() []Ability
	// Accept waits for the client's next attempt to connect.
	Accept(ctx context.Context) (Dial, error)
	// Start begins a call under a name of the transcript's. The request is a
	// JSON object with the fields of a request message but type and id. Start
	// does not wait for the server.
	Start(ctx context.Context, call string, request json.RawMessage) error
	// Attach follows, under a name, a call that was started elsewhere. It
	// does not wait for the server.
	Attach(ctx context.Context, call, id string) error
	// Next takes what the client hands on next to the call's reader: a JSON
	// object with the fields of README.md, section "What a reader is handed".
	// Nothing is taken from the client between two calls of Next; so the
	// transcript sets the reader's pace. It returns ctx's error when that is
	// done first, and can be called again after that.
	Next(ctx context.Context, call string) (json.RawMessage, error)
	// Cancel asks for a call to be stopped, Detach stops following it. They
	// do not wait for the server.
	Cancel(ctx context.Context, call string) error
	Detach(ctx context.Context, call string) error
	// Close ends the client.
	Close() error
}

// Dial is a client's attempt to connect. Either Accept or Refuse is called.
type Dial interface {
	// Token is what the client brought.
	Token() string
	// Offered holds the subprotocols on offer, without the one that is the
	// token.
	Offered() []string
	// Accept opens the connection; an empty subprotocol picks none.
	Accept(subprotocol string) (Conn, error)
	// Refuse answers with an HTTP status and a JSON body.
	Refuse(status int, body []byte) error
}
