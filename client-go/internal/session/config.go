// Package session is the protocol logic of a client: its connections, the
// messages without an answer, the calls that it follows. Like package follow
// it is a state machine without sockets, clocks or goroutines. Inputs carry
// the time; what to do about them comes out as [Output] values. A [Machine] is
// not safe for concurrent use.
//
// Times are durations since a moment of the caller's choice, on a monotonic
// clock.
package session

import (
	"cmp"
	"math/rand/v2"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Timing holds the intervals that the protocol names, and a few of the
// client's own. Zero fields get the default.
type Timing struct {
	// AnswerRequest and Answer are how long to wait for the answer to a
	// request, and to any other message. Default 30 s and 10 s.
	AnswerRequest, Answer time.Duration
	// BackoffBase and BackoffMax bound the random wait before the client
	// connects again, or sends a message again. Default 250 ms and 30 s.
	BackoffBase, BackoffMax time.Duration
	// Ping is how long after the last message that was sent a ping is sent,
	// PingWait how long the server may take to send anything then. Default 4
	// min and 10 s.
	Ping, PingWait time.Duration
	// MaxAge is how old a connection becomes before another replaces it, less
	// a random part of MaxAgeSpread. Default 1 h 57 min and 7 min.
	MaxAge, MaxAgeSpread time.Duration
	// Drain is how long a connection that was replaced is kept for its last
	// answers. Default 30 s.
	Drain time.Duration
	// Foreign is how long after a foreign frame messages are sent again.
	// Default 1 s.
	Foreign time.Duration
	// Refresh is how long before its token expires another one is fetched; at
	// most a fifth of the remaining time. Default 1 min.
	Refresh time.Duration
	// Unsent is how long a message that was never sent waits for a connection.
	// Default 1 min; negative: forever.
	Unsent time.Duration
}

func (t *Timing) setDefaults() {
	t.AnswerRequest = cmp.Or(t.AnswerRequest, 30*time.Second)
	t.Answer = cmp.Or(t.Answer, 10*time.Second)
	t.BackoffBase = cmp.Or(t.BackoffBase, 250*time.Millisecond)
	t.BackoffMax = cmp.Or(t.BackoffMax, 30*time.Second)
	t.Ping = cmp.Or(t.Ping, 4*time.Minute)
	t.PingWait = cmp.Or(t.PingWait, 10*time.Second)
	t.MaxAge = cmp.Or(t.MaxAge, 117*time.Minute)
	t.MaxAgeSpread = cmp.Or(t.MaxAgeSpread, 7*time.Minute)
	t.Drain = cmp.Or(t.Drain, 30*time.Second)
	t.Foreign = cmp.Or(t.Foreign, time.Second)
	t.Refresh = cmp.Or(t.Refresh, time.Minute)
	t.Unsent = cmp.Or(t.Unsent, time.Minute)
}

// Config configures a [Machine].
type Config struct {
	Timing Timing
	// Buffer is about how many bytes of events a reader buffers.
	Buffer int
	// MaxCalls limits how many calls are followed at a time.
	MaxCalls int
	// CanRefresh says that tokens can be fetched while connected.
	CanRefresh bool
	// Jitter returns a random time in [0, d). Nil: math/rand.
	Jitter func(d time.Duration) time.Duration
}

const (
	// maxResends is how often a message without an answer is sent again.
	maxResends = 3
	// maxLosses is how many connections may be lost while a message waits for
	// its answer, before the message is taken to be the cause.
	maxLosses = 16
	// stableAfter is how long a connection must last for the backoff to start
	// from its base again.
	stableAfter = 10 * time.Second
)

// backoff returns a random time in 0 … min(max, base·2^n): full jitter.
func (m *Machine) backoff(n int) time.Duration {
	d := m.timing.BackoffBase << min(n, 20)
	if d > m.timing.BackoffMax || d <= 0 {
		d = m.timing.BackoffMax
	}
	return m.cfg.Jitter(d)
}

func randomBelow(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// localError returns an error of the client in the form of one from the
// server.
func localError(code, text string, final bool) *wire.ServerMessage {
	return new(wire.ErrorMessage(code, text, final))
}
