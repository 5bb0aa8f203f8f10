// Package streamertest tests handlers without sockets, stores or servers: it calls
// a handler like a function and returns what the handler reported. As in the
// engine, params are encoded, checked against their JSON Schema and decoded again,
// chunks and results are encoded as JSON, and limits are enforced.
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

// Checkpoint is a checkpoint that a handler made.
type Checkpoint struct {
	// Data is its JSON. Pass the Checkpoint to [Resume].
	Data json.RawMessage
	// Chunks is how many chunks were emitted before it: those survive a retry.
	Chunks int
}

// Outcome is what a plain handler did.
type Outcome[Out any] struct {
	// Result is what the caller would decode. The zero value if Err is not nil.
	Result Out
	// Err is the error with which the attempt ended: that of refused params, of a
	// report that broke a limit, or the handler's own.
	Err error
	// Permanent reports whether Err excludes a retry.
	Permanent bool
	// Continued reports whether the handler returned streamer.Continue.
	Continued bool
	// After is the time that streamer.Continue or streamer.RetryAfter requested.
	After time.Duration
	// Progress holds all reports, in order. A server sends only the newest.
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
// test at once; a panic of the handler is not recovered.
func Run[In, Out any](t testing.TB, handler func(context.Context, In) (Out, error), params In, opts ...Option) Outcome[Out] {
	t.Helper()
	o := newOptions(t, opts)
	r := streamer.NewRouter(&streamer.RouterOptions{LongAttempts: true})
	streamer.Handle(r, o.info.Action, handler, o.action...)
	got, _ := runAction[Out](t, r, params, o)
	return got
}

// RunStream calls a stream handler once. A handler that cannot be registered
// fails the test at once; a panic of the handler is not recovered.
func RunStream[In, Chunk, Out any](
	t testing.TB, handler func(context.Context, In, *streamer.Call[Chunk]) (Out, error), params In, opts ...Option,
) StreamOutcome[Chunk, Out] {
	t.Helper()
	o := newOptions(t, opts)
	r := streamer.NewRouter(&streamer.RouterOptions{LongAttempts: true})
	streamer.HandleStream(r, o.info.Action, handler, o.action...)
	got, rec := runAction[Out](t, r, params, o)
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

func runAction[Out any](t testing.TB, r *streamer.Router, params any, o *options) (out Outcome[Out], rec *recorder) {
	t.Helper()
	r.Use(o.middleware...)
	registry, err := r.Build()
	if err != nil {
		t.Fatalf("the handler cannot be registered: %v", err)
	}
	action := registry.Actions[o.info.Action]
	payload, err := encodeParams(params)
	if err != nil {
		t.Fatalf("the params cannot be written as JSON: %v", err)
	}
	ctx, cancel := context.WithCancelCause(o.ctx)
	defer cancel(nil)
	if o.timed {
		bounded, stop := context.WithTimeoutCause(ctx, action.Timeout, core.ErrTimeout)
		defer stop()
		ctx = bounded
	}
	rec = &recorder{cancel: cancel, cancelAfter: o.cancelAfter}
	in, err := action.Decode(payload)
	if err != nil {
		return Outcome[Out]{Err: err, Permanent: true}, rec
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
	if out.classify(err); err != nil {
		return out, rec
	}
	if err := json.Unmarshal(data, &out.Result); err != nil {
		t.Fatalf("the result does not decode into a %T: %v", out.Result, err)
	}
	return out, rec
}

// encodeParams encodes params as a client does: a json.RawMessage stays unchanged.
func encodeParams(params any) ([]byte, error) {
	if raw, ok := params.(json.RawMessage); ok && len(raw) > 0 {
		if !json.Valid(raw) {
			return nil, errors.New("the json.RawMessage holds no JSON")
		}
		return raw, nil
	}
	return json.Marshal(params)
}

// classify sets the fields that depend on the kind of an error.
func (r *Outcome[Out]) classify(err error) {
	r.Err = err
	if _, ok := errors.AsType[*core.PermanentError](err); ok {
		r.Permanent = true
	} else if again, ok := errors.AsType[*core.ContinueError](err); ok {
		r.Continued, r.After = true, again.After
	} else if later, ok := errors.AsType[*core.RetryAfterError](err); ok {
		r.After = later.After
	}
}
