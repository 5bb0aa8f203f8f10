package server

import (
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/quota"
)

// tenant is what one tenant holds of the server. Its connections share it.
type tenant struct {
	// connections and subjects, the connections of each subject, are the
	// register's. subjects is nil when they are not limited.
	connections int
	subjects    map[string]int
	// inline is its share of the calls that run inline.
	inline quota.Share
	// memory is its share of what messages may hold.
	memory quota.Share
	// calls is how often it may ask for a call.
	calls quota.Rate
}

// idle tells whether forgetting the tenant would give it nothing.
func (t *tenant) idle(now time.Time) bool {
	return t.connections == 0 && t.inline.Idle() && t.memory.Idle() && t.calls.Full(now)
}

// register counts connections, those of handshakes that are not over included,
// and knows the tenants that hold anything. It is guarded by the hub's lock.
type register struct {
	taken   int
	tenants map[string]*tenant
	// left holds tenants without connections whose calls run on, or who called
	// so often that they must not be met as strangers again.
	left map[string]struct{}
}

// Why there is no place for a connection.
const (
	shuttingDown = "the server is shutting down"
	serverFull   = "the server has no room for more connections"
	tenantFull   = "the tenant has as many connections as it may have now"
	subjectFull  = "the subject has as many connections as it may have"
)

// reserve takes a place for a connection, or says why there is none.
func (r *register) reserve(id auth.Identity, o *Options, now time.Time) (t *tenant, refusal string) {
	r.forget(now)
	t = r.tenants[id.Tenant]
	if t == nil {
		t = &tenant{}
		t.calls.Limit(o.CallRate)
	}
	switch {
	case r.taken >= o.MaxConnections:
		return nil, serverFull
	case !quota.Fair(int64(t.connections), int64(r.taken), int64(o.MaxConnections)),
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
	if r.tenants == nil {
		r.tenants, r.left = map[string]*tenant{}, map[string]struct{}{}
	}
	r.tenants[id.Tenant] = t
	delete(r.left, id.Tenant)
	r.taken++
	t.connections++
	return t, ""
}

// release gives a place back.
func (r *register) release(name, subject string, now time.Time) {
	t := r.tenants[name]
	r.taken--
	t.connections--
	if t.subjects[subject] > 1 {
		t.subjects[subject]--
	} else {
		delete(t.subjects, subject)
	}
	switch {
	case t.connections > 0:
	case t.idle(now):
		delete(r.tenants, name)
	default:
		r.left[name] = struct{}{}
	}
}

// forget drops a few tenants who left and by now hold nothing. More are dropped
// than can have left since the last time; so few are left.
func (r *register) forget(now time.Time) {
	looked := 0
	for name := range r.left {
		if r.tenants[name].idle(now) {
			delete(r.tenants, name)
			delete(r.left, name)
		}
		if looked++; looked == 4 {
			return
		}
	}
}
