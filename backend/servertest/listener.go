package servertest

import "github.com/pay-theory/streamer/backend/internal/memnet"

// Listener is a net.Listener in memory; clients dial it with its DialContext. It
// is for tests in a bubble of testing/synctest: unlike sockets, its connections
// let the bubble's clock advance. Options.Pipes uses one.
type Listener = memnet.Listener

// NewListener returns a listener. Inside a bubble, make it there.
func NewListener() *Listener { return memnet.NewListener() }
