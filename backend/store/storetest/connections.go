package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ConnectionFixture is an empty store of connections, with a clock that only
// Advance moves.
type ConnectionFixture struct {
	Store   store.ConnectionStore
	Now     func() time.Time
	Advance func(time.Duration)
}

// RunConnections runs the suite against a store of connections.
func RunConnections(t *testing.T, open func(t *testing.T) *ConnectionFixture) {
	for name, test := range connectionTests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func (f *ConnectionFixture) connection(tenant, id string) store.Connection {
	return store.Connection{
		Tenant: tenant, Subject: subject, ID: id, Status: store.Open,
		Connected: store.TruncateMillis(f.Now()), Expires: store.TruncateMillis(f.Now().Add(time.Hour)),
	}
}

func (f *ConnectionFixture) putConnection(t *testing.T, c store.Connection) {
	require.NoError(t, f.Store.PutConnection(t.Context(), c))
}

// requireConnection requires that the store holds this connection.
func (f *ConnectionFixture) requireConnection(t *testing.T, want store.Connection) {
	require.Equal(t, want, mustGet(t, f.Store.Connection, want.Tenant, want.ID))
}

// requireNone requires that the store does not hold the connection "a".
func (f *ConnectionFixture) requireNone(t *testing.T) {
	_, err := f.Store.Connection(t.Context(), tenant, "a")
	require.ErrorIs(t, err, store.ErrNotFound)
	require.ErrorIs(t, f.Store.UpdateConnection(t.Context(), tenant, "a", store.Open, f.Now().Add(time.Hour)), store.ErrNotFound)
}

// listConnections returns all connections that match a query.
func (f *ConnectionFixture) listConnections(t *testing.T, q store.ConnectionQuery) []store.Connection {
	return pages(t, func(cursor string) ([]store.Connection, string, error) {
		return f.Store.Connections(t.Context(), q, cursor)
	})
}

var connectionTests = map[string]func(*testing.T, *ConnectionFixture){
	"one life": func(t *testing.T, f *ConnectionFixture) {
		ctx := t.Context()
		f.requireNone(t)
		require.NoError(t, f.Store.DeleteConnection(ctx, tenant, "a"))
		c := f.connection(tenant, "a")
		f.putConnection(t, c)
		f.requireConnection(t, c)
		c.Status, c.Expires = store.Closing, store.TruncateMillis(f.Now().Add(2*time.Hour))
		require.NoError(t, f.Store.UpdateConnection(ctx, tenant, "a", c.Status, c.Expires))
		f.requireConnection(t, c)
		c.Subject = "another"
		f.putConnection(t, c)
		f.requireConnection(t, c)
		require.NoError(t, f.Store.DeleteConnection(ctx, tenant, "a"))
		f.requireNone(t)
	},
	"expiry": func(t *testing.T, f *ConnectionFixture) {
		c := f.connection(tenant, "a")
		f.putConnection(t, c)
		f.Advance(time.Hour - time.Second)
		f.requireConnection(t, c)
		require.NoError(t, f.Store.UpdateConnection(t.Context(), tenant, "a", store.Open, f.Now().Add(time.Minute)))
		f.Advance(time.Minute)
		f.requireNone(t)
		require.Empty(t, f.listConnections(t, store.ConnectionQuery{Tenant: tenant}))
	},
	"pages": func(t *testing.T, f *ConnectionFixture) {
		ctx := t.Context()
		var all []store.Connection
		for i := range 23 {
			if i%3 == 0 {
				f.Advance(time.Millisecond)
			}
			c := f.connection(tenant, fmt.Sprintf("c%02d", i))
			if i%2 == 0 {
				c.Subject = "another"
			}
			if i%5 == 0 {
				c.Status = store.Closing
			}
			all = append(all, c)
			f.putConnection(t, c)
		}
		for _, limit := range []int{0, 1, 4, 22, 23, 24} {
			for _, q := range []store.ConnectionQuery{{}, {Subject: subject}, {Status: store.Closing}, {Subject: "nobody"}} {
				q.Tenant, q.Limit = tenant, limit
				want := slices.DeleteFunc(slices.Clone(all), func(c store.Connection) bool {
					return q.Subject != "" && c.Subject != q.Subject || q.Status != "" && c.Status != q.Status
				})
				require.Equal(t, want, append([]store.Connection{}, f.listConnections(t, q)...), "%+v", q)
			}
		}
		_, cursor, err := f.Store.Connections(ctx, store.ConnectionQuery{Tenant: tenant, Limit: 1}, "")
		require.NoError(t, err)
		for _, q := range []store.ConnectionQuery{{Subject: subject}, {Status: store.Open}} {
			_, _, err = f.Store.Connections(ctx, q, cursor)
			require.ErrorIs(t, err, store.ErrCursor)
		}
	},
	"tenants are isolated": func(t *testing.T, f *ConnectionFixture) {
		for i, k := range ambiguousKeys {
			c := f.connection(k[0], k[1])
			c.Subject = fmt.Sprint(i)
			f.putConnection(t, c)
		}
		for i, k := range ambiguousKeys {
			c := f.connection(k[0], k[1])
			c.Subject = fmt.Sprint(i)
			f.requireConnection(t, c)
			page := f.listConnections(t, store.ConnectionQuery{Tenant: k[0]})
			require.Contains(t, page, c)
			for _, c := range page {
				require.Equal(t, k[0], c.Tenant)
			}
			require.NoError(t, f.Store.DeleteConnection(t.Context(), k[0], k[1]))
		}
	},
	"at once": func(t *testing.T, f *ConnectionFixture) {
		atOnce(func(i int) {
			for j := range 50 {
				id := fmt.Sprintf("%d-%d", i, j)
				assert.NoError(t, f.Store.PutConnection(t.Context(), f.connection(tenant, id)))
				assert.NoError(t, f.Store.UpdateConnection(t.Context(), tenant, id, store.Closing, f.Now().Add(time.Hour)))
				_, _, err := f.Store.Connections(t.Context(), store.ConnectionQuery{Tenant: tenant, Limit: 5}, "")
				assert.NoError(t, err)
				assert.NoError(t, f.Store.DeleteConnection(t.Context(), tenant, id))
			}
		})
		require.Empty(t, f.listConnections(t, store.ConnectionQuery{Tenant: tenant}))
	},
}
