package servertest

import (
	"errors"
	"fmt"
	"time"

	"github.com/pay-theory/streamer/backend/server"
)

// Options say what a gateway does to clients, and what is behind it. The zero
// value does nothing but keep API Gateway's limits.
type Options struct {
	// Seed says which chance: the same seed does the same to the n-th frame of
	// a side of the m-th connection. What a frame holds may differ from run to
	// run, for a server sends together what waits together. Default 0, which
	// is a seed like others.
	Seed uint64
	// Faults are what happens by chance, and how often. See Rough. Default
	// none.
	Faults Faults
	// Only leaves the frames of the other side to themselves, as far as chance
	// goes. Default: both sides have faults.
	Only Side

	// Hold is for how long an overtaken frame waits for the next one. Default
	// 100 ms.
	Hold time.Duration
	// Delay bounds for how long a delayed frame is under way. Default 2 s.
	Delay time.Duration
	// CloseLag bounds how late a late close is told. Default 1 min.
	CloseLag time.Duration
	// NotYet is for how long after its handshake a connection that is not yet
	// there loses what is sent to it. Default 100 ms.
	NotYet time.Duration
	// Idle and Life are when the gateway closes a connection by 1001: after so
	// long without a message from its client, and at that age. Default 10 min
	// and 2 h, each less a second: the server has the same limits and says
	// goodbye before, and a gateway says nothing.
	Idle, Life time.Duration

	// OnEntry is called with each entry of the log as it is made, by several
	// goroutines at once. Frames wait while it runs. Default: nobody is told.
	OnEntry func(Entry)

	// Pipes has the server listen in memory, for clients that dial by
	// Server.DialContext: in a bubble of testing/synctest, where sockets would
	// keep the clock from running. For New and Start. Default: a free TCP port
	// of 127.0.0.1.
	Pipes bool
	// Server are the options of the server behind the gateway. Without Queue
	// and Data it keeps its calls in memory, without Auth it takes the tokens
	// of Server.Token, without Logger it logs nothing; its addresses are not
	// used. For New and Start. Default: server.Options{}.
	Server *server.Options
}

// fill returns a copy with every default filled in, or an error that names the
// wrong option.
func (o *Options) fill() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	faults := Faults{}
	for fault, rate := range out.Faults {
		faults[fault] = rate
	}
	out.Faults = faults
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
