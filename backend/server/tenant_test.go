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

// Against a model: no limit is ever exceeded, what was given back can be had
// again, and tenants are forgotten when they hold nothing, and not before.
func TestRegister(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := &Options{
			MaxConnections: rapid.IntRange(1, 30).Draw(t, "all"), MaxTenantConnections: rapid.IntRange(0, 10).Draw(t, "tenant"),
			MaxSubjectConnections: rapid.IntRange(0, 5).Draw(t, "subject"), CallRate: 1,
		}
		var r register
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
				got, refusal := r.reserve(auth.Identity{Tenant: name, Subject: subject}, o, now)
				switch {
				case all >= o.MaxConnections:
					require.Equal(t, serverFull, refusal)
				case own >= quota.Generosity*(o.MaxConnections-all), o.MaxTenantConnections > 0 && own >= o.MaxTenantConnections:
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
					require.True(t, pool.Take(&own.inline, 1))
					inline[name] = own
				}
			},
			"end": func(t *rapid.T) {
				name, _ := pick(t)
				if own := inline[name]; own != nil {
					pool.Give(&own.inline, 1)
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
					_, left := r.left[name]
					require.Equal(t, n == 0, left)
				}
			},
		})
		for k, n := range held {
			for range n {
				r.release(k[0], k[1], now)
			}
		}
		for _, own := range inline {
			pool.Give(&own.inline, 1)
		}
		r.forget(now)
		require.Empty(t, r.tenants)
	})
}

// A tenant that left after many calls is not met as a stranger.
func TestWhoLeavesIsRemembered(t *testing.T) {
	o := &Options{MaxConnections: 10, CallRate: 2}
	var r register
	now := time.Unix(1_000_000, 0)
	id := auth.Identity{Tenant: "a", Subject: "x"}
	own, _ := r.reserve(id, o, now)
	require.Zero(t, own.calls.Take(now))
	require.Zero(t, own.calls.Take(now))
	require.NotZero(t, own.calls.Take(now))
	r.release("a", "x", now)
	again, _ := r.reserve(id, o, now)
	require.NotZero(t, again.calls.Take(now))
	r.release("a", "x", now)
	for i := range 100 {
		name := fmt.Sprint(i)
		_, _ = r.reserve(auth.Identity{Tenant: name, Subject: "x"}, o, now.Add(time.Minute))
		r.release(name, "x", now.Add(time.Minute))
	}
	require.Empty(t, r.tenants, "but not for ever")
}

// handshakes is a handshaking whose sockets are pipes.
func handshakes(max int) (h *handshaking, open func() net.Conn) {
	h = newHandshaking(max)
	return h, func() net.Conn {
		c, _ := net.Pipe()
		h.watch(c, http.StateNew)
		return c
	}
}

func isClosed(c net.Conn) bool { return c.SetDeadline(time.Time{}) != nil }

// The oldest makes room, but only once it has had its second: a crowd waits,
// and is not thrown out for its own sake.
func TestHandshakesMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, open := handshakes(2)
		first := open()
		time.Sleep(300 * time.Millisecond) // fake
		second := open()
		begun := time.Now()
		third := open()
		require.Equal(t, 700*time.Millisecond, time.Since(begun))
		require.True(t, isClosed(first))
		h.watch(first, http.StateClosed) // net/http says so, too
		require.False(t, isClosed(second))
		require.Equal(t, 2, h.sockets.Len())

		begun = time.Now()
		go func() {
			time.Sleep(100 * time.Millisecond) // fake
			h.watch(second, http.StateHijacked)
		}()
		open()
		require.Equal(t, 100*time.Millisecond, time.Since(begun), "who is done makes room at once")
		require.False(t, isClosed(second))
		require.False(t, isClosed(third))
		require.Len(t, h.places, 2)
	})
}

// An end drops what waits, but for the last word, and nothing comes after it.
func TestOutboxEnds(t *testing.T) {
	o := outbox{limit: overhead, most: overhead + 4}
	_, err := o.add(true, []byte(`"1"`))
	require.NoError(t, err)
	_, err = o.add(true, []byte(`"7"`))
	require.NoError(t, err, "what comes when most is not exceeded is taken")
	_, err = o.add(true, []byte(`"8"`))
	require.Error(t, err)
	room := o.wait()
	require.NotNil(t, room)
	require.False(t, o.end([]byte(`"bye"`)), "somebody writes already")
	<-room
	_, err = o.add(true, []byte(`"late"`))
	require.Error(t, err)
	frame, ok := o.take(nil)
	require.True(t, ok)
	require.Equal(t, `"bye"`, string(frame))
	_, ok = o.take(nil)
	require.False(t, ok)
	require.False(t, o.end([]byte(`"bye"`)), "once")
}

// Whatever connections hold and give back, no more is drawn than there is, at
// rest it covers what is held, and in the end nothing is drawn.
func TestAllowances(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 10 * memoryStep
		pool := quota.NewPool(size)
		var share quota.Share
		all := [3]allowance{{pool: pool, share: &share}, {pool: pool, share: &share}, {pool: pool}}
		var held [3]int64
		t.Repeat(map[string]func(*rapid.T){
			"more": func(t *rapid.T) {
				i := rapid.IntRange(0, 2).Draw(t, "who")
				more := rapid.Int64Range(1, 3*memoryStep).Draw(t, "bytes")
				if all[i].cover(held[i] + more) {
					held[i] += more
				}
			},
			"less": func(t *rapid.T) {
				i := rapid.IntRange(0, 2).Draw(t, "who")
				held[i] -= rapid.Int64Range(0, held[i]).Draw(t, "bytes")
				all[i].settle(held[i])
			},
			"": func(t *rapid.T) {
				sum := int64(0)
				for i := range all {
					require.GreaterOrEqual(t, all[i].drawn.Load()+ownMemory, held[i])
					require.Less(t, all[i].drawn.Load(), held[i]+memoryStep)
					sum += all[i].drawn.Load()
				}
				require.Equal(t, sum, pool.Used())
				require.LessOrEqual(t, sum, int64(size))
			},
		})
		for i := range all {
			all[i].settle(0)
		}
		require.Zero(t, pool.Used())
		require.True(t, share.Idle())
	})
	var free allowance
	require.True(t, free.cover(1<<40), "without a pool there is no bound")
	free.settle(0)
}

// The largest answer counts at once, and is forgotten slowly.
func TestPaceKnowsSizes(t *testing.T) {
	var p pace
	require.EqualValues(t, leastAnswer, p.answer())
	p.answered(90_000)
	require.EqualValues(t, 90_000, p.answer())
	p.answered(50_000)
	require.EqualValues(t, 90_000, p.answer())
	for range 44 {
		p.answered(10)
	}
	require.InDelta(t, 45_000, p.answer(), 1_000)
	for range 1000 {
		p.answered(10)
	}
	require.EqualValues(t, leastAnswer, p.answer())
	var none *pace
	none.answered(1)
}
