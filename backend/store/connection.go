package store

import (
	"context"
	"time"
)

// ConnectionStatus is the status of a connection.
type ConnectionStatus string

// The statuses of a connection. A closed one is deleted.
const (
	Open    ConnectionStatus = "open"
	Closing ConnectionStatus = "closing"
)

// Connection is one WebSocket of a client.
type Connection struct {
	Tenant  string
	Subject string
	ID      string
	Status  ConnectionStatus
	// Connected is when it was opened, Expires when the record expires.
	Connected time.Time
	Expires   time.Time
}

// ConnectionQuery selects connections of a tenant.
type ConnectionQuery struct {
	Tenant string
	// Subject and Status are filters. Empty: all.
	Subject string
	Status  ConnectionStatus
	// Limit is the page size. Default 50, at most 100.
	Limit int
}

// ConnectionStore stores the open connections.
type ConnectionStore interface {
	// PutConnection stores a connection, or replaces the one with its id.
	PutConnection(ctx context.Context, c Connection) error
	// UpdateConnection sets the status and expiry of a connection. Errors:
	// ErrNotFound.
	UpdateConnection(ctx context.Context, tenant, id string, status ConnectionStatus, expires time.Time) error
	// Connection returns one. Errors: ErrNotFound.
	Connection(ctx context.Context, tenant, id string) (Connection, error)
	// DeleteConnection deletes one; it is no error if there is none.
	DeleteConnection(ctx context.Context, tenant, id string) error
	// Connections returns a page, oldest first, with cursors as in
	// RequestQueue.List.
	Connections(ctx context.Context, q ConnectionQuery, cursor string) ([]Connection, string, error)
}
