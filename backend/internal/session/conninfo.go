package session

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/store"
)

// Identity is what a verified token says. Scopes are sorted and unique.
type Identity struct {
	Tenant  string
	Subject string
	Scopes  []string
	// Expires is the token's end. Zero: never.
	Expires time.Time
}

// isSame reports whether the identity may extend the other's connection.
func (id *Identity) isSame(other *Identity) bool {
	return id.Tenant == other.Tenant && id.Subject == other.Subject && slices.Equal(id.Scopes, other.Scopes)
}

// ConnInfo is what is known of a connection. All of it but the expiry stays as it
// is. It is safe for concurrent use.
type ConnInfo struct {
	// Connection is the connection's id.
	Connection string
	// Identity is from the verified token alone.
	Identity Identity
	// AcquirePageSlot waits until another page of a stream or a list may be made
	// for the connection, because pages are large; release is called when it was
	// answered. Nil: at once.
	AcquirePageSlot func() (release func())

	// extended is the expiry of the newest token, in Unix nanoseconds; 0:
	// Identity's.
	extended atomic.Int64
}

// never is the expiry of a token without one.
const never = 100 * 365 * 24 * time.Hour

// Expires is when the newest token expires.
func (c *ConnInfo) Expires() time.Time {
	if n := c.extended.Load(); n != 0 {
		return time.Unix(0, n)
	}
	if c.Identity.Expires.IsZero() {
		return time.Now().Add(never)
	}
	return c.Identity.Expires
}

func (c *ConnInfo) extend(expires time.Time) {
	if expires.IsZero() {
		expires = time.Now().Add(never)
	}
	c.extended.Store(expires.UnixNano())
}

func (c *ConnInfo) acquirePageSlot() (release func()) {
	if c.AcquirePageSlot == nil {
		return func() {}
	}
	return c.AcquirePageSlot()
}

// Address is where the connection's messages go.
func (c *ConnInfo) Address() deliver.Address {
	return deliver.Address{Tenant: c.Identity.Tenant, Connection: c.Connection}
}

func (c *ConnInfo) key(id string) store.Key { return store.Key{Tenant: c.Identity.Tenant, ID: id} }

// mayCall reports whether the token has all scopes that an action requires.
func (c *ConnInfo) mayCall(a *core.Action) bool {
	for _, scope := range a.Scopes {
		if !slices.Contains(c.Identity.Scopes, scope) {
			return false
		}
	}
	return true
}
