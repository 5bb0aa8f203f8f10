// Package streamertest tests handlers without sockets, stores or servers: a
// handler is called like a function, and what it reported comes back. The way
// is the engine's own: params are encoded, checked against their JSON Schema
// and decoded again, chunks and results travel as JSON, and limits hold.
//
//	got := streamertest.RunStream(t, generate, Params{Year: 1999})
//	// got.Chunks, got.Progress, got.Checkpoints, got.Result, got.Err
package streamertest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/streamer"
)

// Progress is a report of progress, within its limits.
type Progress struct {
	Percent float64
	Text    string
}

// Checkpoint is one that a handler made.
type Checkpoint struct {
	// Data is its JSON; hand it to [Resume] as it is.
	Data json.RawMessage
	// Chunks is how many chunks stood before it: those survive a retry.
	Chunks int
}

// Outcome is what a plain handler did.
type Outcome[Out any] struct {
	// Result is what the caller would decode. The zero value if Err is not nil.
	Result Out
	// Err is what the attempt ended with: the error of refused params, of a
	// report that broke a limit, or the handler's own.
	Err error
	// Permanent tells that Err allows no retry.
	Permanent bool
	// Continued tells that the handler asked to go on, by streamer.Continue.
	Continued bool
	// After is how long streamer.Continue or streamer.RetryAfter asked to wait.
	After time.Duration
	// Progress is all that was reported, in order. A server tells only the
	// newest.
	Progress []Progress
}

// StreamOutcome is what a stream handler did.
type StreamOutcome[Chunk, Out any] struct {
	Outcome[Out]
	// Chunks are the chunks as a client would decode them.
	Chunks []Chunk
	// Checkpoints are all that were made, in order.
	Checkpoints []Checkpoint
}

// Run calls a plain handler once. A handler that cannot be registered fails the
// test at once; a panic of the handler goes through.
func Run[In, Out any](t testing.TB, handler func(context.Context, In) (Out, error), params In, opts ...Option) Outcome[Out] {
	t.Helper()
	o := newOptions(t, opts)
	r := streamer.NewRouter(&streamer.RouterOptions{LongAttempts: true})
	streamer.Handle(r, o.info.Action, handler, o.action...)
	got, _ := run[Out](t, r, params, o)
	return got
}

// RunStream calls a stream handler once. A handler that cannot be registered
// fails the test at once; a panic of the handler goes through.
func RunStream[In, Chunk, Out any](
	t testing.TB, handler func(context.Context, In, *streamer.Call[Chunk]) (Out, error), params In, opts ...Option,
) StreamOutcome[Chunk, Out] {
	t.Helper()
	o := newOptions(t, opts)
	r := streamer.NewRouter(&streamer.RouterOptions{LongAttempts: true})
	streamer.HandleStream(r, o.info.Action, handler, o.action...)
	got, rec := run[Out](t, r, params, o)
	out := StreamOutcome[Chunk, Out]{Outcome: got, Checkpoints: rec.checkpoints}
	for i, data := range rec.chunks {
		var chunk Chunk
		if err := json.Unmarshal(data, &chunk); err != nil {
			t.Fatalf("chunk %d does not decode into a %T: %v", i, chunk, err)
		}
		out.Chunks = append(out.Chunks, chunk)
	}
	return out
}

func run[Out any](t testing.TB, r *streamer.Router, params any, o *options) (out Outcome[Out], rec *recorder) {
	t.Helper()
	r.Use(o.middleware...)
	registry, err := r.Build()
	if err != nil {
		t.Fatalf("the handler cannot be registered: %v", err)
	}
	action := registry.Actions[o.info.Action]
	ctx, cancel := context.WithCancelCause(o.ctx)
	defer cancel(nil)
	if o.timed {
		bounded, stop := context.WithTimeoutCause(ctx, action.Timeout, core.ErrTimeout)
		defer stop()
		ctx = bounded
	}
	rec = &recorder{cancel: cancel, cancelAfter: o.cancelAfter}
	payload, err := encodeParams(params)
	if err != nil {
		t.Fatalf("the params cannot be written as JSON: %v", err)
	}
	in, err := action.Decode(payload)
	if err != nil {
		out.Err, out.Permanent = err, true
		return out, rec
	}
	info := o.info
	info.Report = rec.Progress
	call := &core.Call{Info: info, Sink: rec, Checkpoint: o.checkpoint}
	data, err := action.Run(core.WithInfo(ctx, &call.Info), in, call)
	progress, failed := rec.close()
	out.Progress = progress
	if failed != nil {
		out.Err, out.Permanent = failed, true
		return out, rec
	}
	if out.judge(err); err != nil {
		return out, rec
	}
	if err := json.Unmarshal(data, &out.Result); err != nil {
		t.Fatalf("the result does not decode into a %T: %v", out.Result, err)
	}
	return out, rec
}

// encodeParams writes params as a client does: raw ones as they are.
func encodeParams(params any) ([]byte, error) {
	if raw, ok := params.(json.RawMessage); ok && len(raw) > 0 {
		if !json.Valid(raw) {
			return nil, errors.New("the json.RawMessage holds no JSON")
		}
		return raw, nil
	}
	return json.Marshal(params)
}

// judge says of an error what the engine would make of it.
func (r *Outcome[Out]) judge(err error) {
	r.Err = err
	var permanent *core.PermanentError
	var again *core.ContinueError
	var later *core.RetryAfterError
	switch {
	case errors.As(err, &permanent):
		r.Permanent = true
	case errors.As(err, &again):
		r.Continued, r.After = true, again.After
	case errors.As(err, &later):
		r.After = later.After
	}
}
