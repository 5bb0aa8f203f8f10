// Package session says what a message on a connection does. [Rules.Decide] is
// pure: from the facts of the connection, a message and the time it makes an
// effect. [Session.Perform] carries effects out. Neither knows a socket.
package session

import (
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/engine"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
)

// Facts are what is known of a connection. They come from its verified token
// alone.
type Facts struct {
	Connection string
	Tenant     string
	Subject    string
	Scopes     []string
	// Expires is the token's end.
	Expires time.Time
	// Hold waits until the connection may be sent another page of a stream or
	// a list, and returns what is to be called when it was: pages are large.
	// Nil: at once.
	Hold func() (release func())
}

// hold waits for the right to make a page.
func (f *Facts) hold() (release func()) {
	if f.Hold == nil {
		return func() {}
	}
	return f.Hold()
}

// Address is where the connection's messages go.
func (f *Facts) Address() deliver.Address {
	return deliver.Address{Tenant: f.Tenant, Connection: f.Connection}
}

func (f *Facts) key(id string) store.Key { return store.Key{Tenant: f.Tenant, ID: id} }

// Allowed tells whether the token has all scopes that an action requires.
func (f *Facts) allowed(a *core.Action) bool {
	for _, scope := range a.Scopes {
		if !slices.Contains(f.Scopes, scope) {
			return false
		}
	}
	return true
}

// Effect is what a message does: one of the types below.
type Effect interface{ effect() }

// Say answers at once.
type Say struct{ Message wire.ServerMessage }

// Submit asks for a call.
type Submit struct{ Request *engine.Request }

// Cancel stops a call.
type Cancel struct{ Ref, ID string }

// Subscribe follows a stream from behind a position.
type Subscribe struct {
	Ref, ID string
	After   uint64
	Epoch   int64
}

// Unsubscribe stops following.
type Unsubscribe struct{ Ref, ID string }

// List lists the subject's calls.
type List struct {
	Ref    string
	Query  store.Query
	Cursor string
}

// Authenticate verifies a fresh token. The host of the connection performs it,
// and answers with Ok or Refuse.
type Authenticate struct{ Ref, Token string }

func (Say) effect()          {}
func (Submit) effect()       {}
func (Cancel) effect()       {}
func (Subscribe) effect()    {}
func (Unsubscribe) effect()  {}
func (List) effect()         {}
func (Authenticate) effect() {}
