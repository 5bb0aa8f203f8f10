package streamertest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/streamer"
)

// Option changes how a handler is called.
type Option func(*options)

type options struct {
	t           testing.TB
	ctx         context.Context
	info        core.Info
	checkpoint  json.RawMessage
	cancelAfter int
	action      []streamer.Option
	middleware  []streamer.Middleware
	timed       bool
}

// newOptions returns the options of a first attempt at the action "test", called by
// the subject "user" of the tenant "tenant", with the test's own context.
func newOptions(t testing.TB, opts []Option) *options {
	t.Helper()
	now := time.Now()
	o := &options{t: t, ctx: t.Context(), info: core.Info{
		ID: "01890a5d-ac96-774b-bcce-b302099a8057", Action: "test", Tenant: "tenant", Subject: "user", Attempt: 1,
		Correlation: "test", Accepted: now, Deadline: now.Add(24 * time.Hour),
	}}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// Context sets the parent of the handler's context. Default: t.Context().
func Context(ctx context.Context) Option { return func(o *options) { o.ctx = ctx } }

// Resume lets the handler resume from a checkpoint: a [Checkpoint], or the value
// that a handler would pass to Call.Checkpoint. The attempt becomes the second
// unless [Attempt] sets it.
func Resume(checkpoint any) Option {
	return func(o *options) {
		o.t.Helper()
		if c, ok := checkpoint.(Checkpoint); ok {
			checkpoint = c.Data
		}
		data, err := json.Marshal(checkpoint)
		switch {
		case err != nil:
			o.t.Fatalf("the checkpoint cannot be written as JSON: %v", err)
		case len(data) > core.MaxCheckpoint:
			o.t.Fatalf("the checkpoint has %d bytes, at most %d are allowed", len(data), core.MaxCheckpoint)
		}
		o.checkpoint = data
		o.info.Attempt = max(o.info.Attempt, 2)
	}
}

// Attempt sets the attempt, from 1.
func Attempt(n int) Option { return func(o *options) { o.info.Attempt = n } }

// ID sets the call's id.
func ID(id string) Option { return func(o *options) { o.info.ID = id } }

// Action sets the action's name, "test" by default, and its options: its
// Timeout then bounds the handler's context.
func Action(name string, opts ...streamer.Option) Option {
	return func(o *options) { o.info.Action, o.action, o.timed = name, opts, true }
}

// As sets the tenant and subject of the caller.
func As(tenant, subject string) Option {
	return func(o *options) { o.info.Tenant, o.info.Subject = tenant, subject }
}

// Metadata sets the request's metadata: an object, or its JSON.
func Metadata(metadata any) Option {
	return func(o *options) {
		o.t.Helper()
		data, err := json.Marshal(metadata)
		if err != nil {
			o.t.Fatalf("the metadata cannot be written as JSON: %v", err)
		}
		o.info.Metadata = data
	}
}

// CancelAfter cancels the call as soon as n chunks were emitted, with
// streamer.ErrCancelled as the cause; n counts from 1.
func CancelAfter(n int) Option { return func(o *options) { o.cancelAfter = n } }

// Use adds middleware around the handler, the first outermost.
func Use(middleware ...streamer.Middleware) Option {
	return func(o *options) { o.middleware = append(o.middleware, middleware...) }
}
