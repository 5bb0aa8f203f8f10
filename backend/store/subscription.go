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
	// Live reports that events are sent as they come. A subscriber that reads
	// pages, or lags, is not live; it gets only states.
	Live bool
	// Watched reports that the stream is a call with CancelAfter.
	Watched bool
	// Expires is when the subscription expires. Zero: never.
	Expires time.Time
}

// SubscriptionStore stores which connection follows which stream.
type SubscriptionStore interface {
	// Subscribe stores a subscription, or replaces the one with the same
	// tenant, stream and connection. It reports whether there was none before.
	Subscribe(ctx context.Context, s Subscription) (added bool, err error)
	// Unsubscribe deletes one, and reports whether there was one.
	Unsubscribe(ctx context.Context, tenant, stream, connection string) (removed bool, err error)
	// Subscribers returns the subscriptions of a stream, oldest first.
	Subscribers(ctx context.Context, tenant, stream string) ([]Subscription, error)
	// Drop deletes the subscriptions of a connection, and returns them.
	Drop(ctx context.Context, tenant, connection string) ([]Subscription, error)
	// Pause makes a live subscription page. If there is none, it does nothing.
	Pause(ctx context.Context, tenant, stream, connection string) error
	// End deletes the live subscriptions of a stream that has ended, and
	// returns them, oldest first. It keeps those that are not live.
	End(ctx context.Context, tenant, stream string) ([]Subscription, error)
}
