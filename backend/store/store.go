// Package store defines what Streamer stores, as interfaces: [RequestQueue] for
// requests and their events, [ConnectionStore] for connections, and
// [SubscriptionStore] for subscriptions. A RequestQueue has transitions instead
// of fields: each method is one atomic step in the life of a request.
//
// Every key starts with the tenant. An expired record must not be returned,
// even if it was not deleted yet.
//
// The rules of a request's life are pure functions of its [State] (NewState,
// State.Claim, State.Record, State.Finish, State.Cancel, State.Watched,
// State.CancelUnsubscribed), which all stores share. What the pointers of a
// returned State point to must not be changed.
//
// Implementations must be safe for concurrent use and must pass the suite of
// package storetest.
package store

import (
	"context"
	"hash/fnv"
	"time"
)

// DefaultShards is the number of shards of the index of due requests, unless a
// store is opened with another number.
const DefaultShards = 16

// CancelRetention is how long a cancel of an unknown id is retained. The id
// itself may be no older than that.
const CancelRetention = 10 * time.Minute

// DefaultRetention is how long a request is kept after its end.
const DefaultRetention = 7 * 24 * time.Hour

// RequestQueue stores requests durably. States are queued → running →
// succeeded, failed or cancelled; a retry is running → queued. When a method
// returns without an error, its effect is durable.
//
// Any method may return [ErrUnavailable]; its effect may or may not have
// happened then. Repeating a call is safe: methods recognise a repetition.
type RequestQueue interface {
	// Accept stores a new request: queued, or running when Request.Claim is
	// set. If the id is known with the same subject, action and input hash, or
	// the idempotency key with the same hash, it returns that request and
	// Fresh false. If a cancel of the id was retained, the request is stored
	// and ended in the same write.
	//
	// Errors: ErrConflict, ErrIdempotencyConflict, ErrExpired, ErrUnavailable.
	Accept(ctx context.Context, n Request) (Acceptance, error)

	// Claim takes a due request, increments its fence and attempt, and adds an
	// attempt mark unless this is the first claim. Taking over an expired lease
	// counts a crash.
	//
	// Errors: ErrNotFound, ErrNotDue, ErrLeased, ErrQuarantined, and ErrEnded with
	// the state.
	Claim(ctx context.Context, key Key, by Claimant) (ClaimedRequest, error)

	// Record adds a segment, a checkpoint, progress, and renews the lease, if
	// the fence is the request's newest and it is running. The events must not
	// be sent to anyone before Record has returned.
	//
	// Errors: ErrFenced; then nothing was written.
	Record(ctx context.Context, f Fence, r Report) (State, error)

	// Finish ends an attempt under its fence: for good, or back to the queue.
	// A queued request can also be ended, under its newest fence. A request
	// with a cancel flag that would go back to the queue ends as cancelled.
	//
	// Errors: ErrFenced; then nothing was written.
	Finish(ctx context.Context, f Fence, o Outcome) (State, error)

	// Cancel ends a queued request and flags a running one. A cancel of an
	// unknown id that is younger than CancelRetention is retained for
	// (tenant, subject, id).
	//
	// Errors: ErrNotFound if the subject has no such request; ErrEnded, with
	// the unchanged state, if it had ended before.
	Cancel(ctx context.Context, key Key, subject string) (State, error)

	// Read returns the state, and of the events that follow seq after as many
	// as fit into max bytes of data, at least one and at most PageEvents. There
	// are more if the last one's seq is below State.LastSeq. With max 0 it
	// returns no events.
	//
	// Errors: ErrNotFound.
	Read(ctx context.Context, key Key, after uint64, max int) (State, []Event, error)

	// List returns a page of requests, newest first, and the cursor of the
	// next page, which is empty after the last one. The cursor of the first
	// page is empty.
	//
	// Errors: ErrCursor.
	List(ctx context.Context, q Query, cursor string) ([]Summary, string, error)

	// Due returns requests of one shard (from 0) that have not ended and whose
	// State.CheckAt is no later than until, the earliest first: queued ones;
	// running ones if their lease has expired, or will by then, or if
	// State.CancelAt is set.
	Due(ctx context.Context, shard int, until time.Time, max int) ([]Hint, error)
}

// Retainer is implemented by stores whose expired requests must be deleted by
// the engine.
type Retainer interface {
	// Expire deletes at most max expired requests, with everything that belongs
	// to them, and returns how many it deleted.
	Expire(ctx context.Context, max int) (int, error)
}

// Operator is implemented by stores that operators can inspect, over all
// tenants.
type Operator interface {
	// DeadLetters lists dead letters, the latest end first, with a limit and
	// cursors as in List.
	DeadLetters(ctx context.Context, limit int, cursor string) ([]Summary, string, error)
	// Input returns the payload of a request, and its metadata or nil. Errors:
	// ErrNotFound.
	Input(ctx context.Context, key Key) (input, metadata []byte, err error)
}

// Watcher is implemented by stores that can cancel requests which no connection
// follows.
type Watcher interface {
	// Watch records that connections follow the request (subscribed), or that
	// the last one has left. It adds 1 to State.Watch. For a request with
	// CancelAfter it sets State.UnsubscribedAt to zero or, if that is zero, to
	// now. A repeated Watch(false) does not postpone the cancel. If State.CancelAt
	// has come then, as it has when CancelAfter is zero, it cancels in the same
	// write, as CancelUnsubscribed does.
	//
	// Errors: ErrNotFound, and ErrEnded with the state.
	Watch(ctx context.Context, key Key, subscribed bool) (State, error)
	// CancelUnsubscribed cancels as Cancel does (a queued request ends, a
	// running one is flagged) if State.Watch is still watch and State.CancelAt
	// has come. Otherwise it changes nothing and returns the state.
	//
	// Errors: ErrNotFound, and ErrEnded with the state.
	CancelUnsubscribed(ctx context.Context, key Key, watch uint64) (State, error)
}

// ExistenceFilter is implemented by stores that can usually report without a
// read that a request does not exist. Inline calls use it.
type ExistenceFilter interface {
	// MayExist returns false only if no request has the key. It does not block.
	MayExist(key Key) bool
}

// Checker is implemented by stores that can report whether they work.
type Checker interface {
	// Check returns nil when the store can be read and written.
	Check(ctx context.Context) error
}

// ShardOf returns the shard of a request in an index of due requests with the
// given number of shards.
func ShardOf(k Key, shards int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(k.Tenant))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(k.ID))
	return int(h.Sum32() % uint32(shards))
}
