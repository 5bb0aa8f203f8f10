// Package deliver tells connections what happened to the streams that they
// follow: it encodes events once, fans them out, coalesces progress and makes
// pages. It holds no sockets; what it has to say it posts through a [Poster].
package deliver

import "errors"

// Address names a connection.
type Address struct {
	Tenant     string
	Connection string
}

// Slot names a message that a newer one replaces as long as it was not sent.
type Slot struct {
	Stream string
	Type   string
}

// Poster hands messages to connections. Its methods do not block on the
// network and are safe for concurrent use.
type Poster interface {
	// Post appends encoded messages, all or none, to what the connection is
	// sent. Errors: ErrFull, ErrGone.
	Post(to Address, messages ...[]byte) error
	// Put posts a message that replaces an unsent one in the same slot, in its
	// place. It may exceed what Post is bounded by: there is one message a
	// slot. Errors: ErrGone.
	Put(to Address, slot Slot, message []byte) error
	// Alive tells whether the connection is there. Once it has said no of an
	// address, it does not say yes again.
	Alive(to Address) bool
}

var (
	// ErrFull says that the reader is behind; nothing was taken.
	ErrFull = errors.New("the connection's reader is behind")
	// ErrGone says that there is no such connection any more.
	ErrGone = errors.New("the connection is gone")
)
