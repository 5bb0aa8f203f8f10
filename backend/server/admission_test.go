package server

import (
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/engine"
	"github.com/pay-theory/streamer/backend/internal/quota"
	"github.com/pay-theory/streamer/backend/internal/session"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/stretchr/testify/require"
)

// admitting is a connection with no socket, which is enough to be let in.
func admitting(o Options) *conn {
	options, _ := o.withDefaults() // the error is about the want of an authenticator
	s := &Server{options: options, people: memory.New(nil), memory: quota.NewPool(options.MaxMemory)}
	c := &conn{s: s, tenant: &tenant{}, address: deliver.Address{Tenant: "t", Connection: "c"}}
	c.allowed = allowance{pool: s.memory, share: &c.tenant.memory}
	c.tenant.calls.Limit(options.CallRate)
	return c
}

// What is refused leaves nothing behind.
func TestRefusalsCostNothing(t *testing.T) {
	submit := session.Submit{Request: &engine.Request{}}
	c := admitting(Options{MaxPending: 3, PendingBytes: 100_000, MaxMemory: 60_000, CallRate: 2})
	now := time.Now()
	let := func(size int) (*performance, string) {
		p := &performance{c: c, effect: submit, index: -1, pace: &pace{}}
		return p, c.admit(p, size, now).text
	}
	one, text := let(20_000)
	require.Empty(t, text)
	_, text = let(200_000)
	require.Contains(t, text, "hold too much memory")
	_, text = let(50_000)
	require.Contains(t, text, "server's memory")
	two, text := let(10)
	require.Empty(t, text)
	_, text = let(10)
	require.Contains(t, text, "too many calls")
	require.EqualValues(t, 2, c.pending.Load())
	require.Same(t, &c.tenant.inline, submit.Request.Share)
	c.withdraw(one)
	c.withdraw(two)
	require.Zero(t, c.pending.Load())
	require.Zero(t, c.held.Load())
	require.Zero(t, c.s.memory.Used())
	require.True(t, c.tenant.memory.Idle())
}

// What limits cost an inline call that they let in; 16 others are unanswered.
func BenchmarkAdmission(b *testing.B) {
	c := admitting(Options{})
	now := time.Now()
	effect := session.Submit{Request: &engine.Request{}}
	m := &wire.ClientMessage{}
	for range 16 {
		c.admit(&performance{c: c, effect: effect, index: -1, pace: &pace{}}, 300, now)
	}
	p := &performance{c: c, effect: effect, index: -1, pace: &pace{}}
	for b.Loop() {
		if !c.heeds(m, -1, now) || c.admit(p, 300, now).wait > 0 {
			b.Fatal("refused")
		}
		c.withdraw(p)
		p.pace.answered(300)
	}
}
