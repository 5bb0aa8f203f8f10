package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"time"
	"unicode/utf8"

	"github.com/pay-theory/streamer/client-go/internal/follow"
	"github.com/pay-theory/streamer/client-go/internal/session"
	"github.com/pay-theory/streamer/client-go/internal/wire"
)

// Request is a request that is not sent yet. It is a value: each method
// returns a changed copy, so a request can be kept and sent several times,
// each time as a new call (unless it has an ID).
type Request[C, R any] struct {
	action   string
	payload  json.RawMessage
	metadata json.RawMessage
	err      error

	id, key, mode  string
	timeout, delay time.Duration
	cancelAfter    *time.Duration

	onProgress func(Progress)
	onChunk    func(C)
	onAttempt  func(Attempt)
}

// ID sets the call's id, a UUIDv7 in lower case, such as [NewID] returns.
// Sending the same id with the same payload again is the same call. Default: a
// new one each time the request is sent.
func (r Request[C, R]) ID(id string) Request[C, R] {
	r.id, r.err = id, errors.Join(r.err, checkID(id))
	return r
}

// IdempotencyKey sets a key of 1 to 128 bytes of UTF-8. Requests of the same subject
// with the same action and key follow the call of the first one, for as long
// as that call is retained. Another payload with the same key fails with
// [CodeIdempotencyConflict].
func (r Request[C, R]) IdempotencyKey(key string) Request[C, R] {
	if r.key = key; key == "" || len(key) > wire.MaxName || !utf8.ValidString(key) {
		text := fmt.Sprintf("an idempotency key must have 1 to %d bytes of UTF-8, got %d bytes", wire.MaxName, len(key))
		r.err = errors.Join(r.err, invalidRequest("idempotencyKey", text))
	}
	return r
}

// Async stores the call before it runs, even if it is fast.
func (r Request[C, R]) Async() Request[C, R] {
	r.mode = wire.ModeAsync
	return r
}

// Sync runs the call without storing it: it is answered at once, or fails with
// [CodeTimeout] after at most 25 s.
func (r Request[C, R]) Sync() Request[C, R] {
	r.mode = wire.ModeSync
	return r
}

// Timeout limits the time of the whole call, including the time in the queue:
// 1 ms to 30 days. Default: the server's, 24 hours.
func (r Request[C, R]) Timeout(d time.Duration) Request[C, R] {
	if r.timeout = d; d <= 0 {
		r.timeout = -1
	}
	return r
}

// Delay starts the call after d at the earliest: up to 30 days.
func (r Request[C, R]) Delay(d time.Duration) Request[C, R] {
	r.delay = d
	return r
}

// CancelAfter cancels the call when no connection has followed it for d: 0 to
// 30 days. Default: it continues without subscribers.
func (r Request[C, R]) CancelAfter(d time.Duration) Request[C, R] {
	r.cancelAfter = &d
	return r
}

// Metadata sets data for the handler besides the payload: a value that encodes
// as a JSON object of at most 4 KiB. The server does not interpret it.
func (r Request[C, R]) Metadata(object any) Request[C, R] {
	raw, err := encodeJSON("metadata", object)
	r.metadata, r.err = raw, errors.Join(r.err, err)
	return r
}

// OnProgress sets a function that Await and Collect call with new progress, in
// the goroutine that called them. Progress that comes while it runs is
// replaced by newer progress.
func (r Request[C, R]) OnProgress(f func(Progress)) Request[C, R] {
	r.onProgress = f
	return r
}

// OnChunk sets a function that Await and Collect call with each chunk, in
// order, in the goroutine that called them. Chunks wait while it blocks; none
// is lost. Together with OnAttempt it gets what [Call.Events] returns.
func (r Request[C, R]) OnChunk(f func(C)) Request[C, R] {
	r.onChunk = f
	return r
}

// OnAttempt sets a function that Await and Collect call when another attempt
// starts, in the goroutine that called them.
func (r Request[C, R]) OnAttempt(f func(Attempt)) Request[C, R] {
	r.onAttempt = f
	return r
}

// Start sends the request and returns the call at once. Without a connection
// the request waits for one, but no longer than Options.UnsentTimeout. An
// error of Start means that nothing was sent or will be; everything else is
// reported by the call: whether it was accepted ([Call.Accepted]), its events,
// its end. Callbacks are for Await and Collect; Start refuses them.
func (r Request[C, R]) Start(ctx context.Context, c *Client) (*Call[C, R], error) {
	if r.onProgress != nil || r.onChunk != nil || r.onAttempt != nil {
		return nil, invalidRequest("", "callbacks are only for Await and Collect; use Call.Events after Start")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := r.submit(c, false)
	if err != nil {
		return nil, err
	}
	return &Call[C, R]{f}, nil
}

// Await sends the request and waits for its result, or an [*Error] if the call
// has failed. When ctx ends first, the call is detached, not cancelled: Await
// returns a [*DetachedError] with its id, and the call continues. To stop the
// work, use Start and [Call.Cancel].
func (r Request[C, R]) Await(ctx context.Context, c *Client) (R, error) {
	return r.awaitResult(ctx, c, r.onChunk == nil && r.onAttempt == nil, nil)
}

// Collect is like Await, and also returns the chunks, without discarded ones.
// They are all held in memory. If the call fails, the chunks so far are
// returned with the error.
func (r Request[C, R]) Collect(ctx context.Context, c *Client) (R, []C, error) {
	var chunks []C
	out, err := r.awaitResult(ctx, c, false, &chunks)
	return out, chunks, err
}

// awaitResult sends the request, calls the callbacks and returns the result.
func (r *Request[C, R]) awaitResult(ctx context.Context, c *Client, endOnly bool, chunks *[]C) (out R, err error) {
	if err := ctx.Err(); err != nil {
		return out, &DetachedError{CallID: r.id, Err: err}
	}
	f, err := r.submit(c, endOnly)
	if err != nil {
		return out, err
	}
	ended := false
	defer func() { // also when a callback panics
		if !ended {
			f.detach()
		}
	}()
	for {
		e, err := f.nextEvent(ctx)
		if err != nil {
			ended = true
			id, sent := f.detach()
			return out, &DetachedError{CallID: id, Sent: sent, Err: err}
		}
		if e.Kind == follow.End {
			ended = true
			return resultOf[R](&e, f.callID())
		}
		if err := r.dispatch(&e, chunks); err != nil {
			return out, err
		}
	}
}

// dispatch passes an event to the callbacks, and updates the list of chunks.
func (r *Request[C, R]) dispatch(e *follow.Event, chunks *[]C) error {
	switch e.Kind {
	case follow.Progress:
		if r.onProgress != nil {
			r.onProgress(progressOf(&e.Progress))
		}
	case follow.Chunk:
		if r.onChunk == nil && chunks == nil {
			return nil
		}
		typed, err := eventOf[C](e)
		if err != nil {
			return err
		}
		if chunks != nil {
			*chunks = append(*chunks, typed.Chunk)
		}
		if r.onChunk != nil {
			r.onChunk(typed.Chunk)
		}
	case follow.AttemptMark:
		if chunks != nil {
			kept := len(*chunks) - e.Discarded
			clear((*chunks)[kept:])
			*chunks = (*chunks)[:kept]
		}
		if r.onAttempt != nil {
			r.onAttempt(attemptOf(e))
		}
	case follow.End:
	}
	return nil
}

var hashSeed = maphash.MakeSeed()

// submit checks and encodes the request, and sends it.
func (r *Request[C, R]) submit(c *Client, endOnly bool) (*subscriber, error) {
	m, err := r.message()
	if err != nil {
		return nil, err
	}
	frame := encodeInBatch(m)
	body := frame[1 : len(frame)-1]
	if len(body) > wire.MaxClientMessage {
		return nil, invalidRequest("payload", fmt.Sprintf("the request has %d bytes; a client's message may have at most %d (32 KiB)",
			len(body), wire.MaxClientMessage))
	}
	if bad := refusalOf(frame); bad != nil {
		withoutPayload := *m
		withoutPayload.Payload = nil
		field := "payload"
		if refusalOf(encodeInBatch(&withoutPayload)) != nil {
			field = "metadata"
		}
		return nil, invalidRequest(cmp.Or(bad.Field, field), "the server would refuse the request: "+bad.Message)
	}
	var h maphash.Hash
	h.SetSeed(hashSeed)
	_, _ = h.WriteString(r.action)
	_ = h.WriteByte(0)
	_, _ = h.Write(r.payload)
	return c.submit(&session.Request{
		ID: m.ID, Body: body, Hash: h.Sum64(), Sync: r.mode == wire.ModeSync, Pausable: r.cancelAfter == nil, EndOnly: endOnly,
	})
}

// encodeInBatch encodes a message as a batch of one: as it may be sent, and nested
// deepest.
func encodeInBatch(m *wire.ClientMessage) []byte {
	frame := make([]byte, 1, len(m.Payload)+len(m.Metadata)+len(m.Action)+len(m.IdempotencyKey)+128)
	frame[0] = '['
	return append(m.Append(frame), ']')
}

// refusalOf returns why a server would refuse a batch of one message: what
// encoding/json does not check in a json.RawMessage or in what MarshalJSON returns,
// UTF-8 and depth; nil: it would not.
func refusalOf(frame []byte) *wire.Error {
	items, _, err := wire.DecodeClientFrame(frame)
	if err != nil {
		return err
	}
	return items[0].Err
}

// message checks the request as far as that is possible without the server.
func (r *Request[C, R]) message() (*wire.ClientMessage, error) {
	if r.err != nil {
		return nil, r.err
	}
	m := &wire.ClientMessage{
		Type: wire.TypeRequest, ID: r.id, Action: r.action, Payload: r.payload, Mode: r.mode, IdempotencyKey: r.key, Metadata: r.metadata,
	}
	if m.ID == "" {
		m.ID = wire.NewID()
	}
	switch {
	case !wire.ValidAction(r.action):
		return nil, invalidRequest("action", fmt.Sprintf("an action's name must have 1 to %d letters, digits and . _ : / -", wire.MaxName))
	case len(r.metadata) > wire.MaxMetadata:
		return nil, invalidRequest("metadata", "metadata must have at most 4 KiB")
	case len(r.metadata) > 0 && r.metadata[0] != '{':
		return nil, invalidRequest("metadata", "metadata must be a JSON object")
	}
	var err error
	if r.timeout != 0 {
		m.TimeoutMs, err = toMillis("timeoutMs", r.timeout, 1)
	}
	if r.delay != 0 && err == nil {
		m.DelayMs, err = toMillis("delayMs", r.delay, 0)
	}
	if r.cancelAfter != nil && err == nil {
		var ms int64
		ms, err = toMillis("cancelAfterMs", *r.cancelAfter, 0)
		m.CancelAfterMs = &ms
	}
	return m, err
}

// toMillis rounds a duration up to milliseconds and checks its range.
func toMillis(field string, d time.Duration, minimum int64) (int64, error) {
	ms := int64((d + time.Millisecond - 1) / time.Millisecond)
	if d < 0 || ms < minimum || ms > wire.MaxDurationMs {
		return 0, invalidRequest(field, fmt.Sprintf("%s must be between %d and %d (30 days)", field, minimum, wire.MaxDurationMs))
	}
	return ms, nil
}

// encodeJSON encodes a value as JSON; a json.RawMessage is only checked.
func encodeJSON(field string, v any) (json.RawMessage, error) {
	if raw, ok := v.(json.RawMessage); ok && len(raw) > 0 {
		if !json.Valid(raw) {
			return nil, invalidRequest(field, "the "+field+" must be valid JSON")
		}
		return raw, nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("the %s cannot be encoded: %w", field, err)
	}
	return raw, nil
}

// NewID returns a new id for a call: a UUIDv7. It is safe for concurrent use.
func NewID() string { return wire.NewID() }

func checkID(id string) error {
	if !wire.ValidID(id) {
		return invalidRequest("id", "an id must be a UUIDv7 in lower case")
	}
	return nil
}
