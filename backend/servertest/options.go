package servertest

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/pay-theory/streamer/backend/server"
)

// Options configure the faults of a gateway, and the server behind it. The zero
// value only enforces API Gateway's limits.
type Options struct {
	// Seed seeds the random faults: the same seed chooses the same fault for the
	// n-th frame of a side of the m-th connection. The content of a frame may
	// differ from run to run, because a server batches messages that are queued
	// together. Default 0, a seed like others.
	Seed uint64
	// Faults are the rates of random faults. See Rough. Default none.
	Faults Faults
	// Only restricts random faults of frames to those of one side. Default: both
	// sides.
	Only Side

	// Hold is how long an overtaken frame waits for the next one. Default 100 ms.
	Hold time.Duration
	// Delay is the maximum delay of a delayed frame. Default 2 s.
	Delay time.Duration
	// CloseLag is the maximum delay of a late close. Default 1 min.
	CloseLag time.Duration
	// NotYet is how long after its handshake a connection with the fault NotYet
	// loses what is sent to it. Default 100 ms.
	NotYet time.Duration
	// The gateway closes a connection with 1001 when it has received no message
	// from the client for Idle, and at the age Life. Default 10 min and 2 h, each
	// minus a second, so that the gateway closes before the server, which has the
	// same limits.
	Idle, Life time.Duration

	// OnEntry is called with each new entry of the log, concurrently. Frames wait
	// while it runs. Default: none.
	OnEntry func(Entry)

	// Pipes makes the server listen in memory, for clients that dial with
	// Server.DialContext: in a bubble of testing/synctest, where sockets would stop
	// the clock. For New and Start. Default: a free TCP port of 127.0.0.1.
	Pipes bool
	// Server are the options of the server behind the gateway. Without Queue and
	// Data it keeps its calls in memory, without Auth it accepts the tokens of
	// Server.Token, without Logger it logs nothing; its addresses are ignored. For
	// New and Start. Default: server.Options{}.
	Server *server.Options
}

// withDefaults returns a copy with every default filled in, or an error that names
// the wrong option.
func (o *Options) withDefaults() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	out.Faults = maps.Clone(out.Faults)
	if err := out.Faults.check(); err != nil {
		return out, err
	}
	if out.Only != "" && out.Only != FromClient && out.Only != FromServer {
		return out, fmt.Errorf("servertest: Only is %q; it is FromClient, FromServer or empty", string(out.Only))
	}
	times := map[*time.Duration]time.Duration{
		&out.Hold: 100 * time.Millisecond, &out.Delay: 2 * time.Second, &out.CloseLag: time.Minute, &out.NotYet: 100 * time.Millisecond,
		&out.Idle: 10*time.Minute - time.Second, &out.Life: 2*time.Hour - time.Second,
	}
	for p, v := range times {
		if *p < 0 {
			return out, errors.New("servertest: an option of time is negative")
		}
		if *p == 0 {
			*p = v
		}
	}
	return out, nil
}
