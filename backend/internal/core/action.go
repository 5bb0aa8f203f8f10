// Package core is the type-erased part of package streamer: the registry of
// actions, the handler that the engine calls, and the sink that a handler reports
// to. The generic functions of package streamer are a thin layer over it.
package core

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"
)

// Placement is where calls of an action run.
type Placement uint8

// Placements. Auto decides by Expect.
const (
	Auto Placement = iota
	Sync
	Async
)

// Threshold is the expected duration from which on a call is stored before it runs,
// and the duration after which an inline call is promoted.
const Threshold = 5 * time.Second

// Limits of time.
const (
	// DefaultTimeout is the default timeout of an attempt, and the maximum unless
	// the router allows LongAttempts.
	DefaultTimeout = 14 * time.Minute
	// SyncTimeout is the longest that a call of mode sync may take.
	SyncTimeout = 25 * time.Second
)

// Backoff is how long to wait before an attempt: full jitter over an interval
// that doubles from Base to Max with each failure.
type Backoff struct {
	// Base is the first interval. Default 1 s.
	Base time.Duration
	// Max bounds the interval. Default 1 min.
	Max time.Duration
}

// Delay returns a random time in [0, min(Max, Base·2^(failures-1))); failures
// counts from 1. Source: "Exponential Backoff And Jitter", M. Brooker, AWS
// Architecture Blog, 2015 ("full jitter").
func (b Backoff) Delay(failures int) time.Duration {
	base, limit := b.Base, b.Max
	if base <= 0 {
		base = time.Second
	}
	if limit <= 0 {
		limit = time.Minute
	}
	interval := base
	for i := 1; i < failures && interval < limit; i++ {
		interval *= 2
	}
	return rand.N(max(1, min(interval, limit)))
}

// Action is a registered handler with its options.
type Action struct {
	Name string
	// Description is for people. Optional.
	Description string
	// Stream reports whether the handler may emit chunks and make checkpoints.
	Stream    bool
	Placement Placement
	// Expect returns how long a call with this decoded input should take. Nil means
	// unknown, which counts as short. It does not panic.
	Expect func(in any) time.Duration
	// Retries is how many failures beyond the first an attempt may have.
	Retries int
	Backoff Backoff
	// Timeout bounds one attempt.
	Timeout time.Duration
	Scopes  []string

	// The JSON Schemas (2020-12) of payload, result and chunks. Chunk is nil unless
	// Stream.
	Input, Output, Chunk json.RawMessage

	// Decode checks a payload against Input and decodes it. The error is an
	// *Error with code invalid_payload. The payload is one JSON value, which the
	// wire decoder has checked; the input may point into it.
	Decode func(payload []byte) (any, error)
	// Run calls the handler, with all middleware around it, and returns its
	// encoded result. It does not recover panics.
	Run func(ctx context.Context, in any, call *Call) ([]byte, error)
}

// Registry holds the actions of a router whose registrations have no errors.
type Registry struct {
	Actions map[string]*Action
	// Authorize lets a subject act on a call of another subject of its
	// tenant. Nil: never.
	Authorize func(ctx context.Context, access Access) bool
	// LongAttempts allows timeouts above DefaultTimeout.
	LongAttempts bool
}

// Verb is an operation on a call.
type Verb string

// The verbs that Authorize decides about.
const (
	Follow Verb = "follow"
	Cancel Verb = "cancel"
)

// Access is a question to Authorize.
type Access struct {
	Verb Verb
	// Tenant is the tenant of both subjects.
	Tenant string
	// Subject requests access, with the scopes of its token; Owner owns the call.
	Subject string
	Scopes  []string
	Owner   string
	Action  string
	ID      string
}
