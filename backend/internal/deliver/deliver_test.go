package deliver

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// box is a Sender that keeps what it is given.
type box struct {
	mu   sync.Mutex
	sent map[Address][]wire.ServerMessage
}

func (b *box) Send(_ context.Context, to Address, frame []byte) error {
	decoded, err := wire.DecodeServerFrame(frame)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent[to] = append(b.sent[to], decoded...)
	return nil
}

func (b *box) Close(context.Context, Address, int) {}

func newBox() *box { return &box{sent: map[Address][]wire.ServerMessage{}} }

func (b *box) types(a Address) (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.sent[a] {
		out = append(out, m.Type)
	}
	return out
}

// sendNow has the goroutine that adds a message send it.
func sendNow(o *Outbox) { _ = o.Drain(context.Background()) }

func reply(o *Outbox, text string) error {
	_, err := o.Reply([]byte(text))
	return err
}

// sendLater has nobody send a message.
func sendLater(*Outbox) {}

func newNotifier() *Notifier { return New(nil, slog.New(slog.DiscardHandler)) }

var (
	key  = store.Key{Tenant: "acme", ID: "call"}
	here = Address{"acme", "here"}
	full = Address{"acme", "full"}
	gone = Address{"acme", "gone"}
	page = Address{"acme", "pages"}
)

func (n *Notifier) subscribe(t *testing.T, a Address, live bool) Change {
	t.Helper()
	change, err := n.Subscribe(t.Context(), store.Subscription{
		Tenant: a.Tenant, Stream: key.ID, Connection: a.Connection, Subject: "ann", Live: live, Watched: true,
	})
	require.NoError(t, err)
	return change
}

func unsubscribe(t *testing.T, n *Notifier, a Address) Change {
	t.Helper()
	change, err := n.Unsubscribe(t.Context(), a, key.ID)
	require.NoError(t, err)
	return change
}

func disconnect(t *testing.T, n *Notifier, a Address) []Change {
	t.Helper()
	changes, err := n.Disconnect(t.Context(), a)
	require.NoError(t, err)
	return changes
}

func state(last uint64) *store.State {
	return &store.State{Key: key, Status: store.Running, Accepted: time.UnixMilli(1000), LastSeq: last}
}

func chunk(seq uint64) store.Event {
	return store.Event{Kind: store.Chunk, Seq: seq, Attempt: 1, Data: []byte(`{"a":1}`)}
}

// A connection that has ended by the time it is subscribed follows nothing.
func TestEndedConnectionIsNotSubscribed(t *testing.T) {
	n := newNotifier()
	require.Equal(t, Change{Key: key, Last: true}, n.subscribe(t, gone, true))
	require.False(t, n.HasSubscribers(t.Context(), key))
}

// Events go to live subscribers; one whose outbox is full lags, one that is gone
// is skipped, and neither affects the others.
func TestEventsReachLiveSubscribers(t *testing.T) {
	b, n := newBox(), newNotifier()
	for _, a := range []Address{gone, here, page, {"evil", "here"}} {
		n.Open(a, OutboxOptions{Sender: b, Limit: 1 << 20, Start: sendNow})
	}
	behind := n.Open(full, OutboxOptions{Sender: b, Limit: 1 << 20, Start: sendLater})
	require.Equal(t, Change{Key: key, First: true}, n.subscribe(t, full, true))
	for _, a := range []Address{gone, here, {"evil", "here"}} {
		n.subscribe(t, a, true)
	}
	require.Equal(t, Change{}, n.subscribe(t, page, false), "it is not the first")
	n.outbox(gone).Close()
	require.NoError(t, reply(behind, strings.Repeat(" ", 1<<20))) // it waits
	n.Publish(t.Context(), state(2), chunk(2))
	frame, _, _ := behind.take(nil) // the reply leaves
	require.Len(t, frame, 1<<20)
	n.Publish(t.Context(), state(3), chunk(3))
	f := n.Feed(t.Context(), key)
	f.Progress(&store.Progress{Attempt: 1, Rev: 1, Percent: 5})
	end := (&store.End{Status: store.Succeeded, Payload: []byte(`1`)}).Event(4)
	n.Publish(t.Context(), state(4), end)
	require.NoError(t, behind.Drain(t.Context()))

	require.Equal(t, []string{"chunk", "chunk", "progress", "result"}, b.types(here))
	require.Equal(t, []string{"lag", "progress"}, b.types(full), "no event follows a gap; progress does")
	require.EqualValues(t, 2, b.sent[full][0].LastSeq)
	require.Equal(t, []string{"progress"}, b.types(page))
	require.Empty(t, b.types(gone))
	require.Empty(t, b.types(Address{"evil", "here"}), "another tenant's stream has the same id")
	following, err := n.subscriptions.Subscribers(t.Context(), "acme", key.ID)
	require.NoError(t, err)
	require.Len(t, following, 2, "those that page still follow, the live ones do not")
	require.Empty(t, disconnect(t, n, full))
	require.Equal(t, Change{Key: key, Last: true}, unsubscribe(t, n, page))
}

// slowSender is busy some times, and takes 100 ms for a frame.
type slowSender struct {
	busy, frames, inSend atomic.Int32
	overlapped           atomic.Bool
}

func (s *slowSender) Send(context.Context, Address, []byte) error {
	if s.busy.Add(-1) >= 0 {
		return ErrBusy
	}
	if s.inSend.Add(1) > 1 {
		s.overlapped.Store(true)
	}
	time.Sleep(100 * time.Millisecond) // fake
	s.inSend.Add(-1)
	s.frames.Add(1)
	return nil
}

func (s *slowSender) Close(context.Context, Address, int) {}

// A Sender that takes 100 ms delays neither who publishes nor another connection:
// no lock is held while it sends, and each connection has one frame in flight.
func TestNoLockIsHeldWhileSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, slow, n := newBox(), &slowSender{}, newNotifier()
		n.Open(full, OutboxOptions{Sender: slow, Limit: 1 << 20})
		n.Open(here, OutboxOptions{Sender: b, Limit: 1 << 20})
		n.subscribe(t, full, true)
		n.subscribe(t, here, true)
		f := n.Feed(t.Context(), key)
		begin := time.Now()
		for seq := uint64(2); seq < 12; seq++ {
			n.Publish(t.Context(), state(seq), chunk(seq))
			f.Progress(&store.Progress{Attempt: 1, Rev: seq})
			synctest.Wait()
			require.Len(t, b.types(here), int(seq), "each event at once; one progress")
			require.True(t, n.HasSubscribers(t.Context(), key))
		}
		n.subscribe(t, full, false)
		unsubscribe(t, n, full)
		require.Zero(t, time.Since(begin))
		f.Close()
		time.Sleep(time.Second) // fake
		require.False(t, slow.overlapped.Load(), "one frame at a time")
		require.EqualValues(t, 2, slow.frames.Load(), "what waits leaves in one batch")
	})
}

// A frame that the Sender was too busy for is sent again, later and later.
func TestBusySender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowSender{}
		s.busy.Store(8)
		o := newNotifier().Open(here, OutboxOptions{Sender: s, Limit: 1 << 20})
		begin := time.Now()
		start, err := o.Reply([]byte(`{"type":"pong"}`))
		require.NoError(t, err)
		require.True(t, start)
		require.NoError(t, o.Drain(t.Context()))
		require.EqualValues(t, 1, s.frames.Load())
		require.Equal(t, 100*time.Millisecond+50*time.Millisecond*(1+2+4+8+16+32)+2*2*time.Second, time.Since(begin))

		s.busy.Store(1000)
		require.NoError(t, reply(o, `{"type":"pong"}`))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, o.Drain(ctx), context.DeadlineExceeded)
		require.ErrorIs(t, reply(o, `{}`), ErrGone, "what was not sent is dropped")
	})
}

// Invariant 8, as a property: whatever is reported when, the first is sent at
// once, the last is sent before Close returns, in order, and no two sends are
// closer than the interval but for the last.
func TestFeed(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			type send struct {
				rev uint64
				at  time.Time
			}
			var sent []send
			c := newFeed(func(p *store.Progress) { sent = append(sent, send{p.Rev, time.Now()}) })
			n := rapid.IntRange(0, 50).Draw(r, "reports")
			begin := time.Now()
			for i := range n {
				c.Progress(&store.Progress{Rev: uint64(i + 1)})
				if i == 0 {
					require.Len(t, sent, 1)
				}
				time.Sleep(time.Duration(rapid.IntRange(0, 80).Draw(r, "ms")) * time.Millisecond) // fake
				synctest.Wait()
			}
			spent := time.Since(begin)
			c.Close()
			c.Progress(&store.Progress{Rev: 1 << 20})
			c.Close()
			if n == 0 {
				require.Empty(t, sent)
				return
			}
			require.EqualValues(t, n, sent[len(sent)-1].rev, "the newest is sent")
			for i := 1; i < len(sent); i++ {
				require.Greater(t, sent[i].rev, sent[i-1].rev, "none twice, none late")
				if i < len(sent)-1 {
					require.GreaterOrEqual(t, sent[i].at.Sub(sent[i-1].at), ProgressInterval)
				}
			}
			require.LessOrEqual(t, len(sent), int(spent/ProgressInterval)+2)
		})
	})
}

// Close returns when nothing is being sent any more.
func TestFeedCloseWaitsForASend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sending atomic.Bool
		f := newFeed(func(*store.Progress) {
			sending.Store(true)
			time.Sleep(time.Second) // fake
			sending.Store(false)
		})
		go f.Progress(&store.Progress{Rev: 1})
		synctest.Wait()
		require.True(t, sending.Load())
		f.Close()
		require.False(t, sending.Load())
	})
}

// changingSubscriptions is a subscription store that changes once, after it was
// read.
type changingSubscriptions struct {
	*Subscriptions
	change func() // nil: it changes no more
}

func (c *changingSubscriptions) Subscribers(ctx context.Context, tenant, stream string) ([]store.Subscription, error) {
	all, err := c.Subscriptions.Subscribers(ctx, tenant, stream)
	if change := c.change; change != nil {
		c.change = nil
		change()
	}
	return all, err
}

// A connection that is behind, and unsubscribes or ends while an event is
// published, is not subscribed again, and the last one is reported.
func TestLagSubscribesNobody(t *testing.T) {
	for _, ends := range []bool{false, true} {
		subs := &changingSubscriptions{Subscriptions: NewSubscriptions(nil)}
		n := New(subs, slog.New(slog.DiscardHandler))
		o := n.Open(full, OutboxOptions{Limit: 10, Start: sendLater})
		require.NoError(t, reply(o, strings.Repeat(" ", 100)))
		n.subscribe(t, full, true)
		var last bool
		subs.change = func() {
			if ends {
				last = disconnect(t, n, full)[0].Last
			} else {
				last = unsubscribe(t, n, full).Last
			}
		}
		n.Publish(t.Context(), state(1), chunk(1))
		require.True(t, last)
		require.Zero(t, subs.Count(full))
	}
}

// A result of the largest size still fits a server's message.
func TestLargestMessages(t *testing.T) {
	big, err := json.Marshal(string(make([]byte, wire.MaxResult/6-2))) // NUL is six bytes of JSON
	require.NoError(t, err)
	require.LessOrEqual(t, len(big), wire.MaxResult)
	s := state(3)
	s.Action = string(make([]byte, 128))
	events := []store.Event{(&store.End{Status: store.Succeeded, Payload: big}).Event(3)}
	m := SnapshotMessage(s, events)
	require.Less(t, len(m.Append(nil)), wire.MaxServerMessage)
}
