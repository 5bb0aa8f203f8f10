package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
)

// Call follows one call: C is the type of its chunks, R that of its result. It
// buffers a bounded number of events until they are read, and fetches from the
// server later what does not fit. Follow it to its end, or call [Call.Detach].
// It is safe for concurrent use.
type Call[C, R any] struct{ sub *subscriber }

// ID returns the call's id, with which any client of the same caller can
// attach to it. It changes once if the idempotency key belongs to an earlier
// call: then it is the id of that call, which is followed instead. See
// [Call.Accepted].
func (k *Call[C, R]) ID() string { return k.sub.callID() }

// Accepted waits until the server has stored the call, so that it will run
// whatever happens, or has ended it. It returns an error if the call has
// failed by then. It does not wait for the result of a stored call.
func (k *Call[C, R]) Accepted(ctx context.Context) error {
	var end *follow.Event
	err := k.sub.client.waitUntil(ctx, &k.sub.call.Signal, func(time.Duration) bool {
		end = k.sub.call.Reader.End()
		return end != nil || k.sub.call.Accepted()
	})
	if err != nil || end == nil || end.Err == nil {
		return err
	}
	return errorOf(end.Err, k.ID())
}

// Events returns the call's events from where the last reader stopped, and
// waits for more until the end. The last event is of KindEnd; if the call has
// failed it comes with the call's error. Any other error is about reading: the
// context's error when ctx ends (the call is not detached and can be read
// again), a chunk that cannot be decoded into C (reading may continue), or a
// second reader at the same time.
func (k *Call[C, R]) Events(ctx context.Context) iter.Seq2[Event[C], error] {
	return func(yield func(Event[C], error) bool) {
		if err := k.sub.startReading(); err != nil {
			yield(Event[C]{}, err)
			return
		}
		defer k.sub.stopReading()
		for {
			raw, err := k.sub.nextEvent(ctx)
			if err != nil {
				yield(Event[C]{}, err)
				return
			}
			e, err := eventOf[C](&raw)
			if raw.Err != nil {
				err = errorOf(raw.Err, k.ID())
			}
			if !yield(e, err) || e.Kind == KindEnd {
				return
			}
		}
	}
}

// Result waits for the end and returns the result, or an [*Error] if the call
// has failed. When ctx ends first it returns the context's error; the call is
// not detached. Nobody has to read the events: if nobody does and their buffer
// is full, it is dropped, and a later reader fetches the events again.
func (k *Call[C, R]) Result(ctx context.Context) (R, error) {
	end, err := k.sub.waitEnd(ctx)
	if err != nil {
		var zero R
		return zero, err
	}
	return resultOf[R](end, k.ID())
}

// resultOf returns the result, or the error, from the end of a call.
func resultOf[R any](end *follow.Event, id string) (out R, err error) {
	if end.Err != nil {
		return out, errorOf(end.Err, id)
	}
	if err := decodeJSON(end.Data, &out); err != nil {
		return out, fmt.Errorf("the result of call %s is not of the expected type: %w", id, err)
	}
	return out, nil
}

// Cancel asks the server to cancel the call, and waits for the answer. The
// call's end says whether it was cancelled: it may still succeed. Cancel has
// no effect on a call that has ended. A request that was never sent ends at
// once.
func (k *Call[C, R]) Cancel(ctx context.Context) error { return k.sub.cancel(ctx) }

// Detach stops following the call; the call continues. Readers of this Call
// get [ErrDetached].
func (k *Call[C, R]) Detach() { k.sub.detach() }

// CallState is what is known of a call in addition to its events.
type CallState struct {
	ID     string
	Status Status
	// Attempt is the number of the attempt, from 1; 0 if the handler has not
	// run.
	Attempt int
	// Progress is the newest progress; its Attempt is 0 if there is none yet.
	Progress Progress
	// Due is when a queued call may start; zero if that is not known.
	Due time.Time
	// CancelRequested is true if somebody has asked to cancel the call.
	CancelRequested bool
	// LastSeq is the seq of the newest durable event.
	LastSeq uint64
}

// State returns what is known of the call, without asking the server.
func (k *Call[C, R]) State() CallState {
	k.sub.client.mu.Lock()
	defer k.sub.client.mu.Unlock()
	s := k.sub.call.State()
	out := CallState{
		ID: k.sub.call.ID(), Status: Status(s.Status), Attempt: s.Attempt, Due: timeOf(s.Due),
		CancelRequested: s.CancelRequested, LastSeq: s.LastSeq,
	}
	if p, ok := k.sub.call.Reader.Progress(); ok {
		out.Progress = progressOf(&p)
	}
	return out
}

// Do calls an action by name and waits for its result, without an [Action].
// The payload is encoded as JSON; json.RawMessage is sent as it is. See
// [Request.Await] for what happens when ctx ends.
func Do[R any](ctx context.Context, c *Client, action string, payload any) (R, error) {
	return Action[any, json.RawMessage, R](action).With(payload).Await(ctx, c)
}
