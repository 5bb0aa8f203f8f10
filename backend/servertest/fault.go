package servertest

import (
	"fmt"
	"math"
	"slices"
)

// Fault is something that befalls a client behind a gateway.
type Fault string

// Faults of frames. Where nothing else is said they befall frames from either
// side.
const (
	// Lose: the frame does not arrive. A client's is work that is never begun;
	// a server's is an answer lost though the work was done, or an event.
	Lose Fault = "lose"
	// Double: the frame arrives twice.
	Double Fault = "double"
	// Overtake: the frame arrives behind the next one of its side, or
	// Options.Hold later if none comes.
	Overtake Fault = "overtake"
	// Delay: the frame arrives a part of Options.Delay later. What comes behind
	// it does not wait.
	Delay Fault = "delay"
	// Foreign: the frame does not arrive, and the client gets the gateway's own
	// error in its place: a message without type. If the frame was the
	// client's, the integration could not be called; if it was the server's,
	// the integration failed when its work was done.
	Foreign Fault = "foreign"
	// Cut: the frame does not arrive, and the connection dies without a close
	// frame.
	Cut Fault = "cut"
	// GoAway: the frame arrives, and the gateway closes with 1001 behind it.
	GoAway Fault = "go away"
	// HalfOpen: from this frame on nothing arrives at either side, pings are
	// not answered, and neither side is told. The server learns of it when the
	// connection has been idle for Options.Idle.
	HalfOpen Fault = "half-open"
)

// Faults of handshakes.
const (
	// Throttle: the handshake is refused with 429 or 503.
	Throttle Fault = "throttle"
	// Stillborn: the connection is cut right after its handshake.
	Stillborn Fault = "stillborn"
	// NotYet: what the server sends within Options.NotYet of the handshake is
	// lost, as posts are to a connection whose connect has not returned.
	NotYet Fault = "not yet"
)

// Faults of closes: one side's connection has ended, and the other side is to
// be told.
const (
	// LateClose: it is told a part of Options.CloseLag later.
	LateClose Fault = "late close"
	// LoseClose: a server is not told; it finds out when it posts, or when the
	// connection has been idle for Options.Idle. A client's connection dies
	// without a close frame.
	LoseClose Fault = "lose close"
)

// moment is when a fault can befall.
type moment uint8

const (
	atFrame moment = iota + 1
	atHandshake
	atClose
)

// order is in which order chance looks at the faults of a moment. Decisions of
// a seed depend on it: new ones belong at the end.
var order = map[moment][]Fault{
	atFrame:     {Lose, Double, Overtake, Delay, Foreign, Cut, GoAway, HalfOpen},
	atHandshake: {Throttle, Stillborn, NotYet},
	atClose:     {LateClose, LoseClose},
}

// moment returns when the fault can befall; 0: there is no such fault.
func (f Fault) moment() moment {
	for at, all := range order {
		if slices.Contains(all, f) {
			return at
		}
	}
	return 0
}

// Faults are rates by chance: how likely each fault befalls a frame, a
// handshake or a close, from 0 to 1. At one moment at most one befalls, so the
// rates of each moment add up to at most 1.
type Faults map[Fault]float64

// Rough is what a bad day looks like: some of everything. It is a new map, to
// be changed at will.
func Rough() Faults {
	return Faults{
		Lose: 0.02, Double: 0.02, Overtake: 0.03, Delay: 0.02, Foreign: 0.01, Cut: 0.01, GoAway: 0.003, HalfOpen: 0.002,
		Throttle: 0.15, Stillborn: 0.05, NotYet: 0.1, LateClose: 0.3, LoseClose: 0.3,
	}
}

// check names the rate that is wrong.
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
