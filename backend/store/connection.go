package store

import (
	"context"
	"time"
)

// ConnectionStatus is where a connection stands.
type ConnectionStatus string

// The states of a connection. There is no state for closed: it is deleted.
const (
	Open    ConnectionStatus = "open"
	Closing ConnectionStatus = "closing"
)

// Connection is a client that is there.
type Connection struct {
	Tenant  string
	Subject string
	ID      string
	Status  ConnectionStatus
	// Connected is when it came, Expires until when the record holds.
	Connected time.Time
	Expires   time.Time
}

// ConnectionQuery selects connections of a tenant.
type ConnectionQuery struct {
	Tenant string
	// Subject and Status are filters. Empty: all.
	Subject string
	Status  ConnectionStatus
	// Limit is the page's size. Default 50, at most 100.
	Limit int
}

// ConnectionStore knows who is connected.
type ConnectionStore interface {
	// PutConnection stores a connection, or replaces the one with its id.
	PutConnection(ctx context.Context, c Connection) error
	// UpdateConnection sets status and expiry of one that is there. Errors:
	// ErrNotFound.
	UpdateConnection(ctx context.Context, tenant, id string, status ConnectionStatus, expires time.Time) error
	// Connection returns one. Errors: ErrNotFound.
	Connection(ctx context.Context, tenant, id string) (Connection, error)
	// DeleteConnection forgets one; it is no error if there is none.
	DeleteConnection(ctx context.Context, tenant, id string) error
	// Connections returns a page, oldest first, with cursors as in
	// RequestQueue.List.
	Connections(ctx context.Context, q ConnectionQuery, cursor string) ([]Connection, string, error)
}
