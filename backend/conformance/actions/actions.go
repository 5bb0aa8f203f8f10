// Package actions holds the fixed handlers that the transcripts of
// contract/sessions call. contract/sessions/README.md describes what each does.
// They keep nothing in memory between attempts: what an attempt does depends on
// its input, its number and its checkpoint only, so that they behave the same
// after the process was killed.
package actions

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
)

const (
	// ScopeSecret is the scope that the action scoped requires.
	ScopeSecret = "conformance:secret"
	// Secret is the text of a plain error and of a panic, which no client may
	// see.
	Secret = "secret-of-the-handler"
	// maxWait bounds every wait of these handlers.
	maxWait = 10 * time.Minute
)

// Register adds all actions but gate, which needs the player in the same process.
func Register(r *streamer.Router) {
	backoff := streamer.Backoff{Base: time.Millisecond, Max: time.Millisecond} // transcripts wait for it
	streamer.Handle(r, "echo", echo)
	streamer.Handle(r, "echo.async", echo, streamer.Async())
	streamer.Handle(r, "whoami", whoami)
	streamer.Handle(r, "slow", slow)
	streamer.Handle(r, "expected", slow, streamer.ExpectFunc(SlowInput.duration))
	streamer.Handle(r, "brief", slow, streamer.Timeout(100*time.Millisecond))
	streamer.Handle(r, "strict", strict)
	streamer.Handle(r, "scoped", echo, streamer.RequireScope(ScopeSecret))
	streamer.Handle(r, "fail", fail)
	streamer.Handle(r, "fail.often", fail, streamer.Retry(2, backoff))
	streamer.Handle(r, "panic", panics)
	streamer.HandleStream(r, "emit", emit)
	streamer.HandleStream(r, "flaky", flaky, streamer.Retry(5, backoff))
	streamer.HandleStream(r, "stages", stages, streamer.Retry(20, backoff))
	streamer.HandleStream(r, "stages.once", stages)
	streamer.HandleStream(r, "wait", wait)
	streamer.HandleStream(r, "deaf", ignoreContext)
	streamer.HandleStream(r, "storm", storm)
	streamer.HandleStream(r, "big", big)
	streamer.HandleStream(r, "unencodable", unencodable)
}

func echo(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil }

type caller struct {
	Tenant   string          `json:"tenant"`
	Subject  string          `json:"subject"`
	Attempt  int             `json:"attempt"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
}

func whoami(ctx context.Context, _ json.RawMessage) (caller, error) {
	info := streamer.Info(ctx)
	return caller{Tenant: info.Tenant, Subject: info.Subject, Attempt: info.Attempt, Metadata: info.Metadata}, nil
}

// SlowInput is the input of slow, expected, brief and deaf.
type SlowInput struct {
	Ms int64 `json:"ms" jsonschema:"minimum=0,maximum=600000"`
}

func (p SlowInput) duration() time.Duration {
	return min(time.Duration(p.Ms)*time.Millisecond, maxWait)
}

func slow(ctx context.Context, in SlowInput) (SlowInput, error) { return in, sleep(ctx, in.duration()) }

// sleep waits, and returns why the context ended if it did.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

type strictInput struct {
	Name  string       `json:"name" jsonschema:"minLength=1,maxLength=10"`
	Count int          `json:"count" jsonschema:"minimum=1,maximum=100"`
	Color string       `json:"color" jsonschema:"enum=red,enum=green,enum=blue"`
	Lines []strictLine `json:"lines,omitempty"`
}

type strictLine struct {
	Price int `json:"price" jsonschema:"minimum=0"`
}

func strict(_ context.Context, in strictInput) (strictInput, error) { return in, nil }

// FailInput is the input of fail and fail.often.
type FailInput struct {
	// Code is the error's. Empty: an error without a code, which becomes
	// internal.
	Code         string `json:"code,omitempty"`
	Permanent    bool   `json:"permanent,omitempty"`
	RetryAfterMs int64  `json:"retryAfterMs,omitempty"`
}

// plainError is no streamer.Error: its text may only be logged.
type plainError struct{}

func (plainError) Error() string { return Secret }

func (f FailInput) failure(attempt int) error {
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

func fail(ctx context.Context, in FailInput) (json.RawMessage, error) {
	return nil, in.failure(streamer.Info(ctx).Attempt)
}

func panics(context.Context, json.RawMessage) (json.RawMessage, error) { panic(Secret) }
