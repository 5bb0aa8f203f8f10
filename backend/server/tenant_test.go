package server

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Against a model: no limit is ever exceeded, what was given back can be taken
// again, and tenants are forgotten when they hold nothing, and not before.
func TestConnectionLimiter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := &Options{
			MaxConnections: rapid.IntRange(1, 30).Draw(t, "all"), MaxTenantConnections: rapid.IntRange(0, 10).Draw(t, "tenant"),
			MaxSubjectConnections: rapid.IntRange(0, 5).Draw(t, "subject"), CallRate: 1,
		}
		r := newConnectionLimiter(o)
		now := time.Unix(1_000_000, 0)
		held := map[[2]string]int{}
		sums := func(name string) (all, own int) {
			for k, n := range held {
				all += n
				if k[0] == name {
					own += n
				}
			}
			return all, own
		}
		inline := map[string]*tenant{}
		pool := quota.NewPool(1000)
		pick := func(t *rapid.T) (string, string) {
			return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tenant"), rapid.SampledFrom([]string{"x", "y"}).Draw(t, "subject")
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(t *rapid.T) {
				name, subject := pick(t)
				all, own := sums(name)
				got, refusal := r.reserve(&auth.Identity{Tenant: name, Subject: subject}, now)
				switch {
				case all >= o.MaxConnections:
					require.Equal(t, serverFull, refusal)
				case own >= quota.ShareFactor*(o.MaxConnections-all), o.MaxTenantConnections > 0 && own >= o.MaxTenantConnections:
					require.Equal(t, tenantFull, refusal)
				case o.MaxSubjectConnections > 0 && held[[2]string{name, subject}] >= o.MaxSubjectConnections:
					require.Equal(t, subjectFull, refusal)
				default:
					require.Empty(t, refusal)
					if busy := inline[name]; busy != nil {
						require.Same(t, busy, got, "who comes back is known")
					}
					held[[2]string{name, subject}]++
				}
			},
			"release": func(t *rapid.T) {
				name, subject := pick(t)
				if k := [2]string{name, subject}; held[k] > 0 {
					r.release(name, subject, now)
					held[k]--
				}
			},
			"call": func(t *rapid.T) {
				name, _ := pick(t)
				if own := r.tenants[name]; own != nil && own.connections > 0 && inline[name] == nil {
					require.True(t, pool.Reserve(&own.inline, 1))
					inline[name] = own
				}
			},
			"end": func(t *rapid.T) {
				name, _ := pick(t)
				if own := inline[name]; own != nil {
					pool.Release(&own.inline, 1)
					delete(inline, name)
				}
			},
			"": func(t *rapid.T) {
				all, _ := sums("")
				require.Equal(t, all, r.taken)
				require.LessOrEqual(t, all, o.MaxConnections)
				for name, own := range r.tenants {
					_, n := sums(name)
					require.Equal(t, n, own.connections)
					_, disconnected := r.disconnected[name]
					require.Equal(t, n == 0, disconnected)
				}
			},
		})
		for k, n := range held {
			for range n {
				r.release(k[0], k[1], now)
			}
		}
		for _, own := range inline {
			pool.Release(&own.inline, 1)
		}
		r.forget(now)
		require.Empty(t, r.tenants)
	})
}

// A tenant that disconnects after many calls gets no new burst by it.
func TestDisconnectedTenantsAreKept(t *testing.T) {
	o := &Options{MaxConnections: 10, CallRate: 2}
	r := newConnectionLimiter(o)
	now := time.Unix(1_000_000, 0)
	id := auth.Identity{Tenant: "a", Subject: "x"}
	own, _ := r.reserve(&id, now)
	require.Zero(t, own.calls.Take(now))
	require.Zero(t, own.calls.Take(now))
	require.NotZero(t, own.calls.Take(now))
	r.release("a", "x", now)
	again, _ := r.reserve(&id, now)
	require.NotZero(t, again.calls.Take(now))
	r.release("a", "x", now)
	for i := range 100 {
		name := fmt.Sprint(i)
		_, _ = r.reserve(&auth.Identity{Tenant: name, Subject: "x"}, now.Add(time.Minute))
		r.release(name, "x", now.Add(time.Minute))
	}
	require.Empty(t, r.tenants, "idle ones are forgotten")
}

// pipeHandshakes is a handshakeLimiter whose sockets are pipes.
func pipeHandshakes(max int) (h *handshakeLimiter, open func() net.Conn) {
	h = newHandshakeLimiter(max)
	return h, func() net.Conn {
		c, _ := net.Pipe()
		h.onState(c, http.StateNew)
		return c
	}
}

func isClosed(c net.Conn) bool { return c.SetDeadline(time.Time{}) != nil }

// The oldest socket makes room, but not before it is a second old.
func TestOldHandshakesAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, open := pipeHandshakes(2)
		first := open()
		time.Sleep(300 * time.Millisecond) // fake
		second := open()
		begun := time.Now()
		third := open()
		require.Equal(t, 700*time.Millisecond, time.Since(begun))
		require.True(t, isClosed(first))
		h.onState(first, http.StateClosed) // net/http says so, too
		require.False(t, isClosed(second))
		require.Equal(t, 2, h.sockets.Len())

		begun = time.Now()
		go func() {
			time.Sleep(100 * time.Millisecond) // fake
			h.onState(second, http.StateHijacked)
		}()
		open()
		require.Equal(t, 100*time.Millisecond, time.Since(begun), "a handshake that is over makes room at once")
		require.False(t, isClosed(second))
		require.False(t, isClosed(third))
		require.Len(t, h.elements, 2)
	})
}

// requireUsed checks that used of a pool's size places are taken.
func requireUsed(t require.TestingT, pool *quota.Pool, size, used int64) {
	require.False(t, pool.Reserve(nil, size-used+1), "fewer places are taken")
	require.True(t, pool.Reserve(nil, size-used), "more places are taken")
	pool.Release(nil, size-used)
}

// Whatever connections hold and give back, no more is taken than there is, at
// rest it covers what is held, and in the end nothing is taken.
func TestMemoryBudgets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 10 * memoryStep
		pool := quota.NewPool(size)
		var share quota.Share
		all := [3]memoryBudget{{pool: pool, share: &share}, {pool: pool, share: &share}, {pool: pool}}
		var held [3]int64
		t.Repeat(map[string]func(*rapid.T){
			"more": func(t *rapid.T) {
				i := rapid.IntRange(0, 2).Draw(t, "who")
				more := rapid.Int64Range(1, 3*memoryStep).Draw(t, "bytes")
				if all[i].Reserve(held[i] + more) {
					held[i] += more
				}
			},
			"less": func(t *rapid.T) {
				i := rapid.IntRange(0, 2).Draw(t, "who")
				held[i] -= rapid.Int64Range(0, held[i]).Draw(t, "bytes")
				all[i].ReleaseTo(held[i])
			},
			"": func(t *rapid.T) {
				sum := int64(0)
				for i := range all {
					require.GreaterOrEqual(t, all[i].taken.Load()+ownMemory, held[i])
					require.Less(t, all[i].taken.Load(), held[i]+memoryStep)
					sum += all[i].taken.Load()
				}
				requireUsed(t, pool, size, sum)
				require.LessOrEqual(t, sum, int64(size))
			},
		})
		for i := range all {
			all[i].ReleaseTo(0)
		}
		requireUsed(t, pool, size, 0)
		require.True(t, share.IsEmpty())
	})
	var free memoryBudget
	require.True(t, free.Reserve(1<<40), "without a pool there is no bound")
	free.ReleaseTo(0)
}
