package server

import (
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/quota"
)

// tenant is what one tenant holds of the server. Its connections share it.
type tenant struct {
	// connections and subjects, the connections of each subject, belong to the
	// connectionLimiter. subjects is nil when they are not limited.
	connections int
	subjects    map[string]int
	// inline is its share of the inline calls.
	inline quota.Share
	// memory is its share of what messages may hold.
	memory quota.Share
	// calls is how often it may ask for a call.
	calls quota.Rate
}

// isIdle reports whether the tenant would gain nothing by being forgotten.
func (t *tenant) isIdle(now time.Time) bool {
	return t.connections == 0 && t.inline.IsEmpty() && t.memory.IsEmpty() && t.calls.IsFull(now)
}

// connectionLimiter counts connections, including those whose handshake is not
// over, and knows the tenants that hold anything. It belongs to the hub's lock.
type connectionLimiter struct {
	options *Options
	taken   int
	tenants map[string]*tenant
	// disconnected holds tenants without connections whose calls still run, or
	// that would get a new burst of calls by being forgotten.
	disconnected map[string]struct{}
}

// Why there is no room for a connection.
const (
	shuttingDown = "the server is shutting down"
	serverFull   = "the server has no room for more connections"
	tenantFull   = "the tenant has as many connections as it may have now"
	subjectFull  = "the subject has as many connections as it may have"
)

func newConnectionLimiter(o *Options) connectionLimiter {
	return connectionLimiter{options: o, tenants: map[string]*tenant{}, disconnected: map[string]struct{}{}}
}

// reserve takes room for a connection, or says why there is none.
func (l *connectionLimiter) reserve(id *auth.Identity, now time.Time) (t *tenant, reason string) {
	o := l.options
	l.forget(now)
	t = l.tenants[id.Tenant]
	if t == nil {
		t = &tenant{}
		t.calls.Limit(o.CallRate)
	}
	switch {
	case l.taken >= o.MaxConnections:
		return nil, serverFull
	case !quota.WithinFairShare(int64(t.connections), int64(l.taken), int64(o.MaxConnections)),
		o.MaxTenantConnections > 0 && t.connections >= o.MaxTenantConnections:
		return nil, tenantFull
	case o.MaxSubjectConnections > 0 && t.subjects[id.Subject] >= o.MaxSubjectConnections:
		return nil, subjectFull
	}
	if o.MaxSubjectConnections > 0 {
		if t.subjects == nil {
			t.subjects = map[string]int{}
		}
		t.subjects[id.Subject]++
	}
	l.tenants[id.Tenant] = t
	delete(l.disconnected, id.Tenant)
	l.taken++
	t.connections++
	return t, ""
}

// release gives room back.
func (l *connectionLimiter) release(name, subject string, now time.Time) {
	t := l.tenants[name]
	l.taken--
	t.connections--
	if t.subjects[subject] > 1 {
		t.subjects[subject]--
	} else {
		delete(t.subjects, subject)
	}
	switch {
	case t.connections > 0:
	case t.isIdle(now):
		delete(l.tenants, name)
	default:
		l.disconnected[name] = struct{}{}
	}
}

// forget evicts up to four idle tenants that have no connections. Each call of
// reserve adds at most one, so the map stays bounded.
func (l *connectionLimiter) forget(now time.Time) {
	looked := 0
	for name := range l.disconnected {
		if l.tenants[name].isIdle(now) {
			delete(l.tenants, name)
			delete(l.disconnected, name)
		}
		if looked++; looked == 4 {
			return
		}
	}
}
