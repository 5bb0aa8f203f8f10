// Package store says what Streamer keeps, in roles that every store plays:
// [RequestQueue] for requests and their events, [ConnectionStore] and
// [SubscriptionStore] for who is there and who follows what. The queue's role
// is transitions, not fields: each method is one step of a request's life and
// is atomic.
//
// Every key starts with the tenant. What has expired is absent from the moment
// it expired, whether or not it was deleted yet.
//
// The rules of a request's life are written once, as pure functions of its
// [State] (NewState, State.Claim, State.Record, State.Finish, State.Cancel,
// State.SetSubscribed, State.CancelUnsubscribed), and stores share them. What
// the pointers of a returned State point to is not to be changed.
//
// Implementations are safe for concurrent use. Package storetest holds the one
// suite that each of them passes.
package store

import (
	"context"
	"hash/fnv"
	"time"
)

// DefaultShards is into how many shards the index of due requests is split
// unless a store was opened with another number.
const DefaultShards = 16

// CancelRetention is how old an unknown id may be for a cancel of it to be
// remembered, and for how long it is.
const CancelRetention = 10 * time.Minute

// DefaultRetention is for how long a request is kept after its end.
const DefaultRetention = 7 * 24 * time.Hour

// RequestQueue is the durable life of requests. States are queued → running →
// succeeded, failed or cancelled; a retry is running → queued. A method that
// returned without error has made its effect durable.
//
// Any method may return [ErrUnavailable], after which it may have had its
// effect or not: each is safe to repeat, and recognises its own.
type RequestQueue interface {
	// Accept stores a new request: queued, or running when Request.Claim is
	// set. If the id is known with the same subject, action and input hash, or
	// the idempotency key with the same hash, it returns that request and
	// Fresh false. If a cancel of the id was remembered, the request is stored
	// and ended in the same write.
	//
	// Errors: ErrConflict, ErrIdempotencyConflict, ErrExpired, ErrUnavailable.
	Accept(ctx context.Context, n Request) (Acceptance, error)

	// Claim takes a due request, raises its fence and attempt, and adds its
	// attempt mark unless this is the first claim. Taking over a void lease
	// counts a crash.
	//
	// Errors: ErrNotFound, ErrNotDue, ErrLeased, ErrQuarantined, and ErrEnded with
	// the state.
	Claim(ctx context.Context, key Key, by Claimant) (ClaimedRequest, error)

	// Record adds a segment, a checkpoint, progress, and renews the lease, if
	// the fence is the request's newest and it is running. Nobody may be told
	// of the events before Record has returned.
	//
	// Errors: ErrFenced; then nothing was written.
	Record(ctx context.Context, f Fence, r Report) (State, error)

	// Finish ends an attempt under its fence: for good, or back to the queue.
	// A request that is queued is finished under the fence that it holds, too.
	// Going back to the queue with a cancel flag set ends it, cancelled.
	//
	// Errors: ErrFenced; then nothing was written.
	Finish(ctx context.Context, f Fence, o Outcome) (State, error)

	// Cancel ends a queued request and flags a running one. A cancel of an
	// unknown id that is younger than CancelRetention is remembered for
	// (tenant, subject, id).
	//
	// Errors: ErrNotFound if there is no such request of this owner; ErrEnded,
	// with the state, if it had ended before, and then it is left alone.
	Cancel(ctx context.Context, key Key, subject string) (State, error)

	// Read returns the state, and of the events behind seq after as many as
	// fit into max bytes of data, at least one and at most PageEvents. More
	// events follow if the last one's seq is below State.LastSeq. With max 0
	// it returns no events.
	//
	// Errors: ErrNotFound.
	Read(ctx context.Context, key Key, after uint64, max int) (State, []Event, error)

	// List returns a page of requests, newest first. The cursor is empty on
	// the first page, and what came back after that; what comes back is empty
	// on the last page.
	//
	// Errors: ErrCursor.
	List(ctx context.Context, q Query, cursor string) ([]Summary, string, error)

	// Due returns requests of one shard (from 0) that have not ended and whose
	// State.CheckAt is no later than until, the earliest first: queued ones;
	// running ones if their lease is void, or ends by then, or if
	// State.CancelAt is set.
	Due(ctx context.Context, shard int, until time.Time, max int) ([]Hint, error)
}

// Retainer is the optional role of a store that deletes by itself what has
// expired.
type Retainer interface {
	// Expire deletes at most max requests whose retention is over, with all
	// that belongs to them, and tells how many it deleted.
	Expire(ctx context.Context, max int) (int, error)
}

// Operator is the optional role of a store that operators can look into,
// over all tenants.
type Operator interface {
	// DeadLetters lists dead letters, the latest death first, with a limit and
	// cursors as in List.
	DeadLetters(ctx context.Context, limit int, cursor string) ([]Summary, string, error)
	// Input returns what a request was asked with: its payload, and its
	// metadata or nil. Errors: ErrNotFound.
	Input(ctx context.Context, key Key) (input, metadata []byte, err error)
}

// Watcher is the optional role of a store that cancels requests which no
// connection follows.
type Watcher interface {
	// Watch notes that connections follow the request (subscribed), or that the
	// last one has left: it adds 1 to State.Watch, and of a request with
	// CancelAfter it sets State.UnsubscribedAt to zero or, where that is zero,
	// to now. A repeated Watch(false) does not postpone the cancel.
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

// ExistenceFilter is the optional role of a store that can usually report
// without a read that a request does not exist. Inline calls use it.
type ExistenceFilter interface {
	// MayExist returns false only if no request has the key. It does not block.
	MayExist(key Key) bool
}

// Checker is the optional role of a store that can tell whether it works.
type Checker interface {
	// Check returns nil when the store can be read and written.
	Check(ctx context.Context) error
}

// ShardOf returns the shard of a request in an index of due requests that is
// split into so many.
func ShardOf(k Key, shards int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(k.Tenant))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(k.ID))
	return int(h.Sum32() % uint32(shards))
}
