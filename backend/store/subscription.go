package store

import (
	"context"
	"time"
)

// Subscription is a connection that follows a stream.
type Subscription struct {
	Tenant string
	// Stream is a request's id, or a topic's or group's name.
	Stream     string
	Connection string
	Subject    string
	Since      time.Time
	// Live tells that events are sent as they come. A follower that pages, or
	// lags, is not live; it gets state alone.
	Live bool
	// Watched tells that the stream is a call with CancelAfter.
	Watched bool
	// Expires is until when it holds. Zero: until it is deleted.
	Expires time.Time
}

// SubscriptionStore knows who follows what.
type SubscriptionStore interface {
	// Subscribe stores a subscription, or replaces the one with the same
	// tenant, stream and connection. It tells whether there was none before.
	Subscribe(ctx context.Context, s Subscription) (added bool, err error)
	// Unsubscribe forgets one, and tells whether there was one.
	Unsubscribe(ctx context.Context, tenant, stream, connection string) (removed bool, err error)
	// Subscribers returns who follows a stream, oldest first.
	Subscribers(ctx context.Context, tenant, stream string) ([]Subscription, error)
	// Drop forgets all that a connection follows, and returns it.
	Drop(ctx context.Context, tenant, connection string) ([]Subscription, error)
	// End forgets the live subscriptions of a stream that has ended, and
	// returns them, oldest first. Those that page stay.
	End(ctx context.Context, tenant, stream string) ([]Subscription, error)
}
