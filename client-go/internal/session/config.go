// Package session is the protocol logic of a client: its connections, what
// waits for an answer, who follows what. Like package follow it is a state
// machine without sockets, clocks or goroutines. Inputs carry the time; what
// is to be done about them comes out as [Output] values. A [Machine] is not
// safe for concurrent use.
//
// Times are durations since a moment of the caller's choice, on a clock that
// never goes back.
package session

import (
	"math/rand/v2"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Timing holds every interval that the protocol names, and a few of our own.
// Zero fields get the default.
type Timing struct {
	// AnswerRequest and Answer are by when a request, and any other message,
	// is to be answered. Default 30 s and 10 s.
	AnswerRequest, Answer time.Duration
	// BackoffBase and BackoffMax bound the random wait before a connect, a
	// resend or a refused message. Default 250 ms and 30 s.
	BackoffBase, BackoffMax time.Duration
	// Ping is after how much silence of ours a ping is sent, PingWait how long
	// a sign of life may take then. Default 4 min and 10 s.
	Ping, PingWait time.Duration
	// Life is how old a connection becomes before another takes its place,
	// less a random part of LifeSpread. Default 1 h 57 min and 7 min.
	MaxAge, MaxAgeSpread time.Duration
	// Drain is for how long a connection that was replaced is kept for its
	// last answers. Default 30 s.
	Drain time.Duration
	// Foreign is how long after a foreign frame messages are sent again.
	// Default 1 s.
	Foreign time.Duration
	// Refresh is how long before a token's expiry another one is fetched; at
	// most a fifth of what is left. Default 1 min.
	Refresh time.Duration
	// Unsent is how long a message that was never sent waits for a
	// connection. Default 1 min; negative: without end.
	Unsent time.Duration
}

func setDefault(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}

func (t *Timing) setDefaults() {
	setDefault(&t.AnswerRequest, 30*time.Second)
	setDefault(&t.Answer, 10*time.Second)
	setDefault(&t.BackoffBase, 250*time.Millisecond)
	setDefault(&t.BackoffMax, 30*time.Second)
	setDefault(&t.Ping, 4*time.Minute)
	setDefault(&t.PingWait, 10*time.Second)
	setDefault(&t.MaxAge, 117*time.Minute)
	setDefault(&t.MaxAgeSpread, 7*time.Minute)
	setDefault(&t.Drain, 30*time.Second)
	setDefault(&t.Foreign, time.Second)
	setDefault(&t.Refresh, time.Minute)
	setDefault(&t.Unsent, time.Minute)
}

// Config is what a machine needs to know from the start.
type Config struct {
	Timing Timing
	// Buffer is how many bytes of events a reader may leave untaken.
	Buffer int
	// MaxCalls bounds how many calls are followed at a time.
	MaxCalls int
	// CanRefresh tells that tokens can be fetched while connected.
	CanRefresh bool
	// Jitter returns a random time in [0, d). Nil: math/rand.
	Jitter func(d time.Duration) time.Duration
	// NewRef returns a new ref. Nil: counted from 1.
	NewRef func() string
}

const (
	// resends is how often a message is sent again that nobody answers.
	maxResends = 3
	// maxLosses is how many connections may be lost over a message before it
	// is taken for the reason.
	maxLosses = 16
	// settledAfter is how long a connection must live for the backoff of the
	// one after it to begin anew.
	stableAfter = 10 * time.Second
)

// backoff returns a random time in 0 … min(max, base·2^n): full jitter.
func (m *Machine) backoff(n int) time.Duration {
	d := m.timing.BackoffBase << min(n, 20)
	if d > m.timing.BackoffMax || d <= 0 {
		d = m.timing.BackoffMax
	}
	return m.jitter(d)
}

func randomBelow(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// fault makes an error of our own, in the form of one from the server.
func localError(code, text string, final bool) *wire.ServerMessage {
	m := wire.ErrorMessage(code, text, final)
	m.Hint = wire.Codes[code].Hint
	return &m
}
