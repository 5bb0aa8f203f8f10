package conformance

import (
	"context"
	"fmt"
	"time"
)

// Ability is something that not every target can do.
type Ability string

// The abilities. Each names the role that a target which has it implements;
// Handshake, Frames, Settings and Beside have no methods of their own.
const (
	// Clock: time can be moved. Role: [Clock].
	AbilityClock Ability = "clock"
	// Kill: the process that runs handlers can be killed. Role: [Killer].
	AbilityKill Ability = "kill"
	// Telling: Killer knows BeforeTelling and AfterTelling, too.
	AbilityTelling Ability = "telling"
	// Restart: a new process can be started on the store of the one before,
	// which was killed or shut down. Role: [Restarter].
	AbilityRestart Ability = "restart"
	// Shutdown: the server can be shut down in good order. Role: [Stopper].
	AbilityShutdown Ability = "shutdown"
	// Gates: handlers can be waited for and let go on. Role: [Gatekeeper].
	AbilityGates Ability = "gates"
	// Handshake: connecting is a real handshake that can be refused. Of a
	// client: it can read why it was refused, which browsers hide.
	AbilityHandshake Ability = "handshake"
	// Frames: frames are judged: binary ones and those that are too big.
	AbilityFrames Ability = "frames"
	// Settings: the server was made with the transcript's settings.
	AbilitySettings Ability = "settings"
	// Stall: a connection's frames can be left unread. Role of the Conn:
	// [Staller].
	AbilityStall Ability = "stall"
	// Handover: a worker can be made to hand its work to another. Role:
	// [Shifter].
	AbilityHandover Ability = "handover"
	// Beside: an id that is sent again while its inline run goes on is run
	// beside it, because that run cannot be joined.
	AbilityBeside Ability = "beside"
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
	// Identity.Flaw says otherwise) and whose time begins now.
	Token(who Identity) (string, error)
	// Close ends the server and all that belongs to it.
	Close() error
}

// Conn is one end of a connection, the player's. It keeps what has come in
// until Recv asks for it: at least 1,000 frames.
type Conn interface {
	// Send sends one text frame. It must not wait for an answer.
	Send(frame []byte) error
	// Recv returns the next text frame, or a *CloseError once the peer has
	// closed. It returns ctx's error when that is done first, and can be
	// called again after that.
	Recv(ctx context.Context) ([]byte, error)
	// Close says goodbye with a close code.
	Close(code int) error
	// Cut ends the connection without a goodbye, as a lost network does.
	Cut()
}

// BinarySender is the role of a Conn whose target has the ability Frames.
type BinarySender interface {
	SendBinary(frame []byte) error
}

// Staller is the role of a Conn whose target has the ability Stall.
type Staller interface {
	// Stall stops reading frames, so that the peer finds that they are not
	// taken; Resume reads on.
	Stall()
	Resume()
}

// Refusal is a handshake that was refused.
type Refusal struct {
	// Status is HTTP's: 401, 403, 503.
	Status int
	// Code is the error code in the body.
	Code string
	// RetryAfter tells that the header Retry-After stood in the answer.
	RetryAfter bool
}

func (r *Refusal) Error() string { return fmt.Sprintf("refused: %d %s", r.Status, r.Code) }

// CloseError tells that the peer has closed a connection.
type CloseError struct {
	// Code is the close code; 1006 if there was no close frame.
	Code   int
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

// When says at which moment a process dies.
type When string

// The moments.
const (
	// Now kills at once.
	Now When = "now"
	// BeforeTelling kills when an end that was not there yet has become
	// durable, before anybody was told of it.
	BeforeTelling When = "beforeTelling"
	// AfterTelling kills when an end was told, before its hint was given
	// back.
	AfterTelling When = "afterTelling"
)

// Killer is the role of a target whose process can be killed: nothing is put
// in order, its handlers write nothing any more, its connections are dead.
type Killer interface {
	// Kill kills at once, or arranges for it to happen at that moment.
	Kill(ctx context.Context, when When) error
}

// Restarter is the role of a target that can start again.
type Restarter interface {
	// Restart waits until the process has ended, as Kill or Shutdown arranged
	// it, and starts a new one on the same store.
	Restart(ctx context.Context) error
}

// Stopper is the role of a target that can be shut down in good order.
type Stopper interface {
	// Shutdown begins the shutdown and does not wait for its end.
	Shutdown(ctx context.Context) error
}

// Shifter is the role of a target whose workers hand work over.
type Shifter interface {
	// HandOver makes the worker that runs handlers hand them over to another
	// one, as one does whose time is about to run out.
	HandOver(ctx context.Context) error
}

// Gatekeeper is the role of a target whose handlers of the action gate run in
// reach; see actions.Gates.
type Gatekeeper interface {
	// Await waits until a handler has come to the gate.
	Await(ctx context.Context, gate string) error
	// Release lets all pass that are there, or come later.
	Release(gate string)
}

// missing returns which of the abilities that a transcript needs are not there.
func missing(need, have []Ability) []Ability {
	there := make(map[Ability]bool, len(have))
	for _, a := range have {
		there[a] = true
	}
	var out []Ability
	for _, a := range need {
		if !there[a] {
			out = append(out, a)
		}
	}
	return out
}
