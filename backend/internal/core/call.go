package core

import (
	"context"
	"encoding/json"
	"time"
)

// Sink is where a running handler's reports go. Its methods are safe for
// concurrent use. Emit blocks while the store is behind.
type Sink interface {
	// Emit adds a chunk; data is not changed afterwards.
	Emit(data json.RawMessage)
	// Progress replaces what was reported before.
	Progress(percent float64, message string)
	// Checkpoint stores what the next attempt resumes from.
	Checkpoint(data json.RawMessage)
	// Fail ends the attempt for good: its context ends, and whatever the
	// handler returns, err is its error.
	Fail(err error)
}

// Call is a running call, as the engine hands it to a handler.
type Call struct {
	Info Info
	Sink Sink
	// Checkpoint is what the attempts before left; nil: nothing.
	Checkpoint json.RawMessage
}

// Info says which call a context belongs to.
type Info struct {
	// ID is the call's id: the token to hand to other systems, for they may
	// see a call more than once.
	ID      string
	Action  string
	Tenant  string
	Subject string
	// Attempt counts from 1.
	Attempt int
	// Correlation stands on every log line of the call.
	Correlation string
	// Metadata is the request's, raw; nil if it had none.
	Metadata json.RawMessage
	// Accepted is when the call was accepted, or began if it is inline.
	Accepted time.Time
	// Deadline is when the whole call ends.
	Deadline time.Time
	// Report is the call's sink for progress.
	Report func(percent float64, message string)
}

type infoKey struct{}

// WithInfo returns a context that carries the info.
func WithInfo(ctx context.Context, info *Info) context.Context {
	return context.WithValue(ctx, infoKey{}, info)
}

// IsInfoKey tells whether a context that is asked for the value of key is asked
// for its info.
func IsInfoKey(key any) bool {
	_, ok := key.(infoKey)
	return ok
}

// InfoFrom returns the info of a handler's context; ok is false outside one.
func InfoFrom(ctx context.Context) (info *Info, ok bool) {
	info, ok = ctx.Value(infoKey{}).(*Info)
	return info, ok
}
