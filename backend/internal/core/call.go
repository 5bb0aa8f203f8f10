package core

import (
	"context"
	"encoding/json"
	"time"
)

// Sink takes the reports of a running handler. Its methods are safe for
// concurrent use. Emit blocks while the store is behind.
type Sink interface {
	// Emit adds a chunk; data is not changed afterwards.
	Emit(data json.RawMessage)
	// Progress replaces what was reported before.
	Progress(percent float64, message string)
	// Checkpoint stores what the next attempt resumes from.
	Checkpoint(data json.RawMessage)
	// Fail ends the attempt: its context ends, and err is its error regardless of
	// what the handler returns.
	Fail(err error)
}

// Call is a running call, as the engine passes it to a handler.
type Call struct {
	Info Info
	Sink Sink
	// Checkpoint is the newest checkpoint of earlier attempts; nil: none.
	Checkpoint json.RawMessage
}

// Info describes the call that a context belongs to.
type Info struct {
	// ID is the call's id: the idempotency key for other systems, which may see a
	// call more than once.
	ID      string
	Action  string
	Tenant  string
	Subject string
	// Attempt counts from 1.
	Attempt int
	// Correlation is on every log line of the call.
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

// IsInfoKey reports whether key is the context key of the info.
func IsInfoKey(key any) bool {
	_, ok := key.(infoKey)
	return ok
}

// InfoFrom returns the info of a handler's context; ok is false outside one.
func InfoFrom(ctx context.Context) (info *Info, ok bool) {
	info, ok = ctx.Value(infoKey{}).(*Info)
	return info, ok
}
