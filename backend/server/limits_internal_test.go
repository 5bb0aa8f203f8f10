package server

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/engine"
	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/internal/session"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/stretchr/testify/require"
)

// newLimits returns the limits of a connection.
func newLimits(t testing.TB, o Options) *limits {
	options, _ := o.withDefaults() // the error is that there is no authenticator
	l := &limits{options: &options, ctx: t.Context(), tenant: &tenant{}, countStreams: func() int { return 0 }}
	l.budget = memoryBudget{pool: quota.NewPool(options.MaxMemory), share: &l.tenant.memory}
	l.tenant.calls.Limit(options.CallRate)
	return l
}

// newCall returns a request of an inline action, in a frame of so many bytes.
func newCall(t testing.TB, bytes int) *session.Command {
	s := &session.Session{Retention: time.Hour, Registry: &core.Registry{Actions: map[string]*core.Action{
		"a": {Name: "a", Decode: func([]byte) (any, error) { return nil, nil }},
	}}}
	info := &session.ConnInfo{Identity: session.Identity{Tenant: "t", Subject: "s"}}
	commands := s.Decode(info, []byte(`{"type":"request","id":"`+wire.NewID()+`","action":"a"}`), time.Now())
	require.Nil(t, commands[0].Answer())
	require.Equal(t, engine.Inline, commands[0].Placement)
	commands[0].Bytes = bytes
	return commands[0]
}

// A refused command leaves nothing counted.
func TestRefusalsCostNothing(t *testing.T) {
	l := newLimits(t, Options{MaxPending: 3, PendingBytes: 100_000, MaxMemory: 60_000, CallRate: 2})
	now := time.Now()
	admit := func(size int) (int64, string) {
		held, r := l.admit(newCall(t, size), minAnswer, now)
		return held, r.text
	}
	one, text := admit(20_000)
	require.Empty(t, text)
	_, text = admit(200_000)
	require.Contains(t, text, "hold too much memory")
	_, text = admit(50_000)
	require.Contains(t, text, "server's memory")
	two, text := admit(10)
	require.Empty(t, text)
	_, text = admit(10)
	require.Contains(t, text, "too many calls")
	require.EqualValues(t, 2, l.pending.Load())
	l.release(one)
	l.release(two)
	require.Zero(t, l.pending.Load())
	require.Zero(t, l.held.Load())
	require.True(t, l.budget.pool.Reserve(nil, 60_000), "all of it is there again")
	require.True(t, l.tenant.memory.IsEmpty())

	call := newCall(t, 10)
	l.tenant.calls.Limit(0)
	_, r := l.admit(call, minAnswer, now.Add(time.Minute))
	require.Empty(t, r.text)
	require.Same(t, &l.tenant.inline, call.Request().Share)
}

// What limits cost an admitted inline call; 16 others are unanswered.
func BenchmarkAdmit(b *testing.B) {
	l := newLimits(b, Options{})
	call, now := newCall(b, 300), time.Now()
	for range 16 {
		l.admit(call, minAnswer, now)
	}
	var stats latencyStats
	for b.Loop() {
		if l.debit(now, false) > 0 {
			b.Fatal("refused")
		}
		held, r := l.admit(call, stats.answerSize(), now)
		if r.wait > 0 {
			b.Fatal("refused")
		}
		l.release(held)
		stats.observeAnswer(300)
	}
}
