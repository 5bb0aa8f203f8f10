package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Ability is something that not every target can do.
type Ability string

// The abilities. For AbilityClock the target is a [Clock], for the next five a
// [Controller].
const (
	AbilityClock     Ability = "clock"     // time can be moved
	AbilityKill      Ability = "kill"      // the process that runs handlers can be killed
	AbilityRestart   Ability = "restart"   // a new process can be started on the store of the one before
	AbilityShutdown  Ability = "shutdown"  // the server can be shut down gracefully
	AbilityGates     Ability = "gates"     // handlers can be waited for and released
	AbilityHandover  Ability = "handover"  // a worker can be made to hand its work to another
	AbilityNotify    Ability = "telling"   // Kill supports BeforeNotify and AfterNotify
	AbilityHandshake Ability = "handshake" // a handshake can be refused; of a client: it can read why
	AbilityFrames    Ability = "frames"    // binary frames and those that are too big are refused
	AbilitySettings  Ability = "settings"  // the server has the transcript's settings
	AbilityStall     Ability = "stall"     // a connection's frames can be left unread
	AbilityBeside    Ability = "beside"    // an id that is sent again during its inline run is run a second time
)

// Target is a server to play against, with the fixed actions of package
// actions registered. Each transcript gets one of its own, with an empty
// store. The player calls it from one goroutine.
type Target interface {
	// Abilities tells what the target can do beyond this interface.
	Abilities() []Ability
	// Connect opens a connection. Errors: a *Refusal when the server refused
	// the handshake; any other fails the transcript.
	Connect(ctx context.Context, who Identity) (Conn, error)
	// Token returns a token of the identity that the server accepts (unless
	// Identity.Defect says otherwise) and that is valid from now on.
	Token(who Identity) (string, error)
	// Close ends the server and all that belongs to it.
	Close() error
}

// Conn is one end of a connection, the player's. It keeps what has come in
// until Recv asks for it: at least 1,000 frames.
type Conn interface {
	// Send sends one text frame. It must not wait for an answer.
	Send(frame []byte) error
	// SendBinary sends one binary frame. Only called if the target has the
	// ability Frames.
	SendBinary(frame []byte) error
	// Recv returns the next text frame, or a *CloseError once the peer has
	// closed. It returns ctx's error when that is done first, and can be
	// called again after that.
	Recv(ctx context.Context) ([]byte, error)
	// Close closes the connection with a close code.
	Close(code int) error
	// Cut ends the connection without a close frame, as a lost network does.
	// It may be called again.
	Cut()
	// Stall stops reading frames, so that they pile up at the peer; Resume
	// continues. Only called if the target has the ability Stall.
	Stall()
	Resume()
}

// Refusal is a handshake that was refused.
type Refusal struct {
	Status     int    // HTTP's: 401, 403, 503
	Code       string // the error code in the body
	RetryAfter bool   // the header Retry-After stood in the answer
}

func (r *Refusal) Error() string { return fmt.Sprintf("refused: %d %s", r.Status, r.Code) }

// CloseError reports that the peer has closed a connection.
type CloseError struct {
	Code   int // the close code; 1006 if there was no close frame
	Reason string
}

func (e *CloseError) Error() string { return fmt.Sprintf("closed: %d %s", e.Code, e.Reason) }

// Clock is the role of a target whose time can be moved.
type Clock interface {
	// Now returns the target's time.
	Now() time.Time
	// Advance moves it, and returns when what fell due has been begun.
	Advance(ctx context.Context, d time.Duration) error
}

// When says at which moment a process is killed.
type When string

// The moments.
const (
	// Now kills at once.
	Now When = "now"
	// BeforeNotify kills when an end that was not there yet has become
	// durable, before any client was notified.
	BeforeNotify When = "beforeTelling"
	// AfterNotify kills when clients were notified of an end, before its hint was given
	// back.
	AfterNotify When = "afterTelling"
)

// Controller is what controls a server's process and its handlers. Of its
// methods only those are called that the target has the ability for.
type Controller interface {
	// Kill kills the process at once, or arranges for it to happen at that
	// moment: nothing is cleaned up, its handlers write nothing any more, its
	// connections are dead.
	Kill(ctx context.Context, when When) error
	// Restart waits until the process has ended, as Kill or Shutdown arranged
	// it, and starts a new one on the same store.
	Restart(ctx context.Context) error
	// Shutdown begins a graceful shutdown and does not wait for its end.
	Shutdown(ctx context.Context) error
	// HandOver makes the worker that runs handlers hand them over to another
	// one, as a worker does whose time is almost over.
	HandOver(ctx context.Context) error
	// Await waits until a handler of the action gate has come to a gate, and
	// Release lets all pass that are there or come later.
	Await(ctx context.Context, gate string) error
	Release(gate string)
}

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

// missing returns which of the abilities that a transcript needs are lacking.
func missing(need, have []Ability) []Ability {
	return slices.DeleteFunc(slices.Clone(need), func(a Ability) bool { return slices.Contains(have, a) })
}
