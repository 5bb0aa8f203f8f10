package servertest

import (
	"fmt"
	"math"
	"slices"
)

// Fault is a fault of the network between a client and the server.
type Fault string

// Faults of frames. Unless noted otherwise they apply to frames from either side.
const (
	// Lose: the frame does not arrive. If it was the client's, the work is not
	// started; if it was the server's, an answer or event is lost after the work
	// was done.
	Lose Fault = "lose"
	// Double: the frame arrives twice.
	Double Fault = "double"
	// Overtake: the frame arrives after the next one of its side, or Options.Hold
	// later if there is none.
	Overtake Fault = "overtake"
	// Delay: the frame arrives later by a random part of Options.Delay. Frames
	// after it do not wait.
	Delay Fault = "delay"
	// Foreign: the frame does not arrive, and the client gets the gateway's own
	// error in its place: a message without type. If the frame was the
	// client's, the integration could not be called; if it was the server's,
	// the integration failed when its work was done.
	Foreign Fault = "foreign"
	// Cut: the frame does not arrive, and the connection ends without a close
	// frame.
	Cut Fault = "cut"
	// GoAway: the frame arrives, and the gateway closes with 1001 after it.
	GoAway Fault = "go away"
	// HalfOpen: from this frame on nothing arrives at either side, pings are not
	// answered, and neither side is notified. The server is notified when the
	// connection has been idle for Options.Idle.
	HalfOpen Fault = "half-open"
)

// Faults of handshakes.
const (
	// Throttle: the handshake is refused with 429 or 503.
	Throttle Fault = "throttle"
	// Stillborn: the connection is cut right after its handshake.
	Stillborn Fault = "stillborn"
	// NotYet: messages that the server sends within Options.NotYet of the
	// handshake are lost, like posts to a connection whose connect has not
	// returned.
	NotYet Fault = "not yet"
)

// Faults of closes: one side's connection has ended, and the other side is to be
// notified.
const (
	// LateClose: it is notified later, by a random part of Options.CloseLag.
	LateClose Fault = "late close"
	// LoseClose: a server is not notified until it posts, or until the connection
	// has been idle for Options.Idle. A client's connection ends without a close
	// frame.
	LoseClose Fault = "lose close"
)

// moment is when a fault can occur.
type moment uint8

const (
	atFrame moment = iota + 1
	atHandshake
	atClose
)

// order is the order in which randomFault considers the faults of a moment. The
// choices of a seed depend on it: append new faults at the end.
var order = map[moment][]Fault{
	atFrame:     {Lose, Double, Overtake, Delay, Foreign, Cut, GoAway, HalfOpen},
	atHandshake: {Throttle, Stillborn, NotYet},
	atClose:     {LateClose, LoseClose},
}

// moment returns when the fault can occur; 0: there is no such fault.
func (f Fault) moment() moment {
	for at, all := range order {
		if slices.Contains(all, f) {
			return at
		}
	}
	return 0
}

// Faults are the probabilities of faults of a frame, a handshake or a close, from 0
// to 1. At most one fault occurs at a time, so the rates of frames, of handshakes
// and of closes each add up to at most 1.
type Faults map[Fault]float64

// Rough returns rates for a bad network: some of every fault. The map is new and
// may be modified.
func Rough() Faults {
	return Faults{
		Lose: 0.02, Double: 0.02, Overtake: 0.03, Delay: 0.02, Foreign: 0.01, Cut: 0.01, GoAway: 0.003, HalfOpen: 0.002,
		Throttle: 0.15, Stillborn: 0.05, NotYet: 0.1, LateClose: 0.3, LoseClose: 0.3,
	}
}

// check returns an error that names the wrong rate.
func (f Faults) check() error {
	sums := map[moment]float64{}
	for fault, rate := range f {
		at := fault.moment()
		if at == 0 {
			return fmt.Errorf("servertest: there is no fault %q", string(fault))
		}
		if math.IsNaN(rate) || rate < 0 || rate > 1 {
			return fmt.Errorf("servertest: the rate of %q is %v; a rate is from 0 to 1", string(fault), rate)
		}
		sums[at] += rate
	}
	for at, sum := range sums {
		if sum > 1+1e-9 {
			return fmt.Errorf("servertest: the rates of %v add up to %v, above 1", order[at], sum)
		}
	}
	return nil
}
