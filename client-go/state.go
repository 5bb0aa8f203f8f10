package client

import (
	"cmp"
	"context"
	"iter"
	"time"
)

// Phase is how a client is connected.
type Phase uint8

// Phases of a client.
const (
	// Connecting: an attempt to connect is under way.
	Connecting Phase = iota
	// Connected: messages go out at once.
	Open
	// Waiting: the connection is lost, and the next attempt is not due yet.
	Reconnecting
	// Closed: the client is done for good.
	Closed
)

var phaseNames = map[Phase]string{
	Connecting: "connecting", Open: "open", Reconnecting: "reconnecting", Closed: "closed",
}

// String returns the phase in lower case.
func (p Phase) String() string { return cmp.Or(phaseNames[p], "unknown") }

// State is the state of a client's connection.
type State struct {
	Phase Phase
	// Err says why the client is not connected; nil if it is, and before the
	// first attempt has failed. If the client was closed it is ErrClosed.
	Err error
}

// State returns the client's state.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// States returns the client's state, and then every change until the client is
// closed or ctx ends. A slow reader misses intermediate states, but never the
// newest.
func (c *Client) States(ctx context.Context) iter.Seq[State] {
	return func(yield func(State) bool) {
		seen := uint64(0)
		for {
			var state State
			err := c.waitUntil(ctx, &c.stateSignal, func(time.Duration) (changed bool) {
				changed = c.stateVersion != seen
				state, seen = c.state, c.stateVersion
				return changed
			})
			if err != nil || !yield(state) || state.Phase == Closed {
				return
			}
		}
	}
}

// updateState records a change of state. The lock is held.
func (c *Client) updateState() {
	phase, cause := c.machine.Phase()
	next := State{Phase: Phase(phase)} // both types have the same values
	if c.stateVersion > 0 && next.Phase == c.state.Phase && cause == c.stateCause {
		return
	}
	if cause != nil {
		next.Err = errorOf(cause, "")
	}
	c.state, c.stateCause = next, cause
	c.stateVersion++
	c.stateSignal.Notify()
}
