package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/follow"
)

// Call is a call that is followed: C is the type of its chunks, R that of its
// result. It holds a bounded number of events until they are read, and what
// does not fit is pulled from the server later. Follow it to its end, or
// [Call.Detach]. It is safe for concurrent use.
type Call[C, R any] struct{ sub *subscriber }

// ID returns the id by which the call can be attached to from anywhere. It
// changes once if an idempotency key turns out to belong to an earlier call:
// then it is that one's, and that call is followed. See [Call.Accepted].
func (k *Call[C, R]) ID() string { return k.sub.callID() }

// Accepted waits until the server has stored the call, so that it will be done
// whatever happens, or has answered it for good. It returns how the call failed
// if it has failed by then. It does not wait for the result of a call that is
// stored.
func (k *Call[C, R]) Accepted(ctx context.Context) error {
	var end *follow.Event
	err := k.sub.waitUntil(ctx, func() bool {
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
// failed it comes together with its error. Any other error is about reading:
// the context's when ctx ends (the call is not detached; it can be read
// again), a chunk that cannot be decoded into C (reading may go on), or a second
// reader at the same time.
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

// Result waits for the end and returns the result, or how the call failed: an
// [*Error]. When ctx ends first it returns the context's error; the call is not
// detached. Events need not be read for it: if nobody does and their buffer
// fills up, it is emptied, and a reader that comes later has the events pulled
// again.
func (k *Call[C, R]) Result(ctx context.Context) (R, error) {
	end, err := k.sub.waitEnd(ctx)
	if err != nil {
		var zero R
		return zero, err
	}
	return resultOf[R](end, k.ID())
}

// resultOf reads the end of a call.
func resultOf[R any](end *follow.Event, id string) (out R, err error) {
	if end.Err != nil {
		return out, errorOf(end.Err, id)
	}
	if err := decodeJSON(end.Data, &out); err != nil {
		return out, fmt.Errorf("the result of call %s is not of the expected type: %w", id, err)
	}
	return out, nil
}

// Cancel asks the server to stop the work, and waits until it has noted that.
// How the call ends is told by its end: it may still succeed. A call that has
// ended is left as it is. A request that was never sent ends here.
func (k *Call[C, R]) Cancel(ctx context.Context) error { return k.sub.cancel(ctx) }

// Detach stops following the call; the call goes on. Whoever waits for it here
// gets [ErrDetached].
func (k *Call[C, R]) Detach() { k.sub.detach() }

// CallState is what is known of a call beside its events.
type CallState struct {
	ID     string
	Status Status
	// Attempt counts the handler's runs, from 1; 0: it has not run.
	Attempt int
	// Progress is the newest; its Attempt is 0 before the first.
	Progress Progress
	// Due is when a queued call may start, if that is known.
	Due time.Time
	// CancelRequested tells that somebody has asked for it to be cancelled.
	CancelRequested bool
	// LastSeq is the number of the newest durable event.
	LastSeq uint64
}

// State returns what is known of the call now, without asking the server.
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

// Do calls an action by name and waits for its result: the door for those who
// have no [Action]. The payload is encoded as JSON; json.RawMessage is sent as
// it is. See [Request.Await] for what happens when ctx ends.
func Do[R any](ctx context.Context, c *Client, action string, payload any) (R, error) {
	return Action[any, json.RawMessage, R](action).With(payload).Await(ctx, c)
}
