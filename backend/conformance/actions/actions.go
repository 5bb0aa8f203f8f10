// Package actions holds the fixed handlers that the transcripts of
// contract/sessions call. contract/sessions/README.md describes them, for
// whoever builds them for another server. They keep nothing in memory between
// attempts: what an attempt does depends on its input, its number and its
// checkpoint alone, so that they behave the same after the process was killed.
package actions

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
)

// ScopeSecret is the scope that the action scoped requires.
const ScopeSecret = "conformance:secret"

// longest bounds every wait of these handlers.
const longest = 10 * time.Minute

// quick is the backoff of the actions that are retried: the stories wait for
// it.
var quick = streamer.Backoff{Base: time.Millisecond, Max: time.Millisecond}

// Register adds all actions but gate, which belongs to [Gates].
func Register(r *streamer.Router) {
	streamer.Handle(r, "echo", echo)
	streamer.Handle(r, "echo.async", echo, streamer.Async())
	streamer.Handle(r, "whoami", whoami)
	streamer.Handle(r, "slow", slow)
	streamer.Handle(r, "expected", slow, streamer.ExpectFunc(func(in Pause) time.Duration { return in.duration() }))
	streamer.Handle(r, "brief", slow, streamer.Timeout(100*time.Millisecond))
	streamer.Handle(r, "strict", strict)
	streamer.Handle(r, "scoped", echo, streamer.RequireScope(ScopeSecret))
	streamer.Handle(r, "fail", fail)
	streamer.Handle(r, "fail.often", fail, streamer.Retry(2, quick))
	streamer.Handle(r, "panic", panics)
	streamer.HandleStream(r, "emit", emit)
	streamer.HandleStream(r, "flaky", flaky, streamer.Retry(5, quick))
	streamer.HandleStream(r, "stages", stages, streamer.Retry(20, quick))
	streamer.HandleStream(r, "stages.once", stages)
	streamer.HandleStream(r, "wait", wait)
	streamer.HandleStream(r, "deaf", deaf)
	streamer.HandleStream(r, "storm", storm)
	streamer.HandleStream(r, "big", big)
	streamer.HandleStream(r, "unencodable", unencodable)
}

// echo returns its input, byte for byte.
func echo(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil }

// Caller is what whoami returns.
type Caller struct {
	Tenant   string          `json:"tenant"`
	Subject  string          `json:"subject"`
	Attempt  int             `json:"attempt"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
}

func whoami(ctx context.Context, _ json.RawMessage) (Caller, error) {
	info := streamer.Info(ctx)
	return Caller{Tenant: info.Tenant, Subject: info.Subject, Attempt: info.Attempt, Metadata: info.Metadata}, nil
}

// Pause is for how long a handler takes its time.
type Pause struct {
	Ms int64 `json:"ms" jsonschema:"minimum=0,maximum=600000"`
}

func (p Pause) duration() time.Duration { return min(time.Duration(p.Ms)*time.Millisecond, longest) }

// slow returns its input after that time, or why its context ended before.
func slow(ctx context.Context, in Pause) (Pause, error) { return in, rest(ctx, in.duration()) }

// rest waits, and returns why the context ended if it did.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Order is an input with bounds, for invalid payloads.
type Order struct {
	Name  string `json:"name" jsonschema:"minLength=1,maxLength=10"`
	Count int    `json:"count" jsonschema:"minimum=1,maximum=100"`
	Color string `json:"color" jsonschema:"enum=red,enum=green,enum=blue"`
	Lines []Line `json:"lines,omitempty"`
}

// Line is one line of an Order.
type Line struct {
	Price int `json:"price" jsonschema:"minimum=0"`
}

func strict(_ context.Context, in Order) (Order, error) { return in, nil }

// Fault is how fail fails.
type Fault struct {
	// Code is the error's. Empty: an error without a code, which becomes
	// internal.
	Code string `json:"code,omitempty"`
	// Permanent says that another attempt cannot help.
	Permanent bool `json:"permanent,omitempty"`
	// RetryAfterMs is the least time until the next attempt.
	RetryAfterMs int64 `json:"retryAfterMs,omitempty"`
}

// Secret is what the text of a plain error holds, and no client may see.
const Secret = "secret-of-the-handler"

// plainError is no streamer.Error: its text belongs in the log alone.
type plainError struct{}

func (plainError) Error() string { return Secret }

func (f Fault) err(attempt int) error {
	var err error = plainError{}
	if f.Code != "" {
		err = streamer.Errorf(f.Code, "attempt %d failed as it was told to", attempt)
	}
	if f.RetryAfterMs > 0 {
		err = streamer.RetryAfter(time.Duration(f.RetryAfterMs)*time.Millisecond, err)
	}
	if f.Permanent {
		err = streamer.Permanent(err)
	}
	return err
}

func fail(ctx context.Context, in Fault) (json.RawMessage, error) {
	return nil, in.err(streamer.Info(ctx).Attempt)
}

func panics(context.Context, json.RawMessage) (json.RawMessage, error) { panic(Secret) }
