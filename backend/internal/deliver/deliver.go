// Package deliver sends the events of streams to the connections that follow
// them. A [Notifier] holds the subscriptions, an [Outbox] holds what waits for
// one connection, and a [Feed] limits how often one attempt's progress is sent.
// The package holds no sockets: frames leave through a [Sender].
//
// No lock is held while a Sender sends.
package deliver

import (
	"context"
	"errors"

	"github.com/pay-theory/streamer/backend/store"
)

// Address names a connection.
type Address struct {
	Tenant     string
	Connection string
}

// Sender writes to connections.
type Sender interface {
	// Send writes one frame. It may block; there is one call at a time for an
	// address. The frame is not kept. Errors: ErrGone; ErrBusy, after which the
	// frame is sent again later.
	Send(ctx context.Context, to Address, frame []byte) error
	// Close ends the connection with a close code, after the last Send.
	Close(ctx context.Context, to Address, code int)
}

var (
	// ErrGone says that there is no such connection any more.
	ErrGone = errors.New("the connection is gone")
	// ErrBusy says that the connection takes no frame now.
	ErrBusy = errors.New("the connection takes no frame now")
	// ErrFull says that the reader is behind; nothing was added.
	ErrFull = errors.New("the connection's reader is behind")
)

// Change says that a call with CancelAfter got its first subscriber, or lost
// its last one. The zero value is no change.
type Change struct {
	Key         store.Key
	First, Last bool
}
