package engine

import (
	"errors"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/store"
)

// Placement is where a call begins.
type Placement uint8

const (
	// NotPlaced is the placement of what is not a call.
	NotPlaced Placement = iota
	// Inline calls run first and are stored only if they take long.
	Inline
	// Stored calls are stored before they run.
	Stored
)

// Request is a call that a client asks for. It was checked: the action exists,
// the subject may call it, and the payload fits.
type Request struct {
	store.Key
	Subject    string
	Connection string
	Action     *core.Action
	// In is Payload, decoded.
	In       any
	Payload  []byte
	Metadata []byte
	// Placement is Place's.
	Placement Placement
	// Sync forbids promotion.
	Sync           bool
	Timeout        time.Duration
	Delay          time.Duration
	CancelAfter    *time.Duration
	IdempotencyKey string
	// KnownOnly says that the id is too old for a new call.
	KnownOnly bool
	RetryOf   string
	// Share is what the tenant holds of Options.MaxInline. Nil: it is not
	// counted for a tenant.
	Share *quota.Share
}

// Place decides where the call begins. Async is the client's wish. It calls the
// action's Expect, so it is called once for a request.
func (r *Request) Place(async bool, threshold time.Duration) Placement {
	switch {
	case async, r.KnownOnly, r.IdempotencyKey != "", r.Delay > 0, r.CancelAfter != nil, r.Action.Placement == core.Async:
		return Stored
	case r.Sync, r.Action.Placement == core.Sync, r.Action.Expect == nil:
		return Inline
	case r.Action.Expect(r.In) >= threshold:
		return Stored
	}
	return Inline
}

// promotable reports whether an inline run of the call may be stored.
func (r *Request) promotable() bool { return !r.Sync && r.Action.Placement != core.Sync }

// attemptTimeout is how long one attempt may take.
func (r *Request) attemptTimeout() time.Duration {
	if r.promotable() {
		return r.Action.Timeout
	}
	return min(r.Action.Timeout, core.SyncTimeout)
}

// isSame reports whether other asks for the same call.
func (r *Request) isSame(other *Request) bool {
	return r.Subject == other.Subject && r.Action == other.Action && string(r.Payload) == string(other.Payload)
}

func (r *Request) forStore(accepted, deadline time.Time) store.Request {
	n := store.Request{
		Key: r.Key, Subject: r.Subject, Action: r.Action.Name, Input: r.Payload, Metadata: r.Metadata,
		Hash: store.Hash(r.Action.Name, r.Payload), IdempotencyKey: r.IdempotencyKey, Deadline: deadline,
		CancelAfter: r.CancelAfter, Connection: r.Connection, RetryOf: r.RetryOf, KnownOnly: r.KnownOnly,
	}
	if r.Delay > 0 {
		n.NotBefore = accepted.Add(r.Delay)
	}
	return n
}

func (r *Request) info(accepted, deadline time.Time) core.Info {
	return core.Info{
		ID: r.ID, Action: r.Action.Name, Tenant: r.Tenant, Subject: r.Subject, Attempt: 1,
		Metadata: r.Metadata, Accepted: accepted, Deadline: deadline,
	}
}

// AnswerKind is how a request was answered.
type AnswerKind uint8

const (
	// Ended: End is the answer; nothing was stored.
	Ended AnswerKind = iota
	// Accepted: the call is durable as of State, and the caller follows it.
	Accepted
	// Known: the call, or the one under its idempotency key, was stored before.
	Known
	// Refused: Err says why.
	Refused
)

// Answer is a request's first answer.
type Answer struct {
	Kind  AnswerKind
	End   *store.End
	State store.State
	Err   *core.Error
	// Final says that the refused id never becomes a call.
	Final bool
}

func refused(code, text string, final bool) Answer {
	return Answer{Kind: Refused, Err: &core.Error{Code: code, Message: text}, Final: final}
}

func stopping() Answer { return refused(core.CodeUnavailable, "the server is shutting down", false) }

// refusal is the answer to a request that the store refused.
func refusal(err error) Answer {
	switch {
	case errors.Is(err, store.ErrClosed):
		return stopping()
	case errors.Is(err, store.ErrConflict):
		return refused(core.CodeConflict, "the id is in use for another call", true)
	case errors.Is(err, store.ErrIdempotencyConflict):
		return refused(core.CodeIdempotencyConflict, "the idempotency key is in use for another payload", true)
	case errors.Is(err, store.ErrExpired):
		return refused(core.CodeExpiredID, "the id is older than the retention; it may have run and been forgotten", true)
	}
	return refused(core.CodeUnavailable, "the call could not be stored; send it again", false)
}
