package deliver

import (
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// box is a Poster that keeps what it is given, and refuses what it is told to.
type box struct {
	mu     sync.Mutex
	got    map[Address][]wire.ServerMessage
	refuse map[Address]error
}

func newBox() *box { return &box{got: map[Address][]wire.ServerMessage{}, refuse: map[Address]error{}} }

func (b *box) Post(to Address, messages ...[]byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuse[to]; err != nil {
		return err
	}
	for _, m := range messages {
		decoded, err := wire.DecodeServerFrame(m)
		if err != nil {
			return err
		}
		b.got[to] = append(b.got[to], decoded...)
	}
	return nil
}

func (b *box) Put(to Address, _ Slot, message []byte) error {
	b.mu.Lock()
	full := errors.Is(b.refuse[to], ErrFull)
	b.mu.Unlock()
	if full { // a slot has room where the rest has not
		decoded, _ := wire.DecodeServerFrame(message)
		b.mu.Lock()
		b.got[to] = append(b.got[to], decoded...)
		b.mu.Unlock()
		return nil
	}
	return b.Post(to, message)
}

func (b *box) Alive(to Address) bool { return to != dead }

var dead = Address{"acme", "dead"}

// Who is gone by the time that it is made to follow follows nothing.
func TestTheDeadDoNotFollow(t *testing.T) {
	teller := NewTeller(memory.New(nil), newBox(), slog.New(slog.DiscardHandler))
	var left []store.Key
	teller.Watch(func(store.Key) { t.Error("nobody has come") }, func(k store.Key) { left = append(left, k) })
	require.NoError(t, teller.Follow(t.Context(), dead, "ann", key.ID, true))
	require.False(t, teller.Followed(t.Context(), key))
	require.Equal(t, []store.Key{key}, left)
}

var (
	key  = store.Key{Tenant: "acme", ID: "call"}
	here = Address{"acme", "here"}
	full = Address{"acme", "full"}
	gone = Address{"acme", "gone"}
	page = Address{"acme", "pages"}
)

func state(last uint64) *store.State {
	return &store.State{Key: key, Status: store.Running, Accepted: time.UnixMilli(1000), LastSeq: last}
}

func chunk(seq uint64) store.Event {
	return store.Event{Kind: store.Chunk, Seq: seq, Attempt: 1, Data: []byte(`{"a":1}`)}
}

// Events go to who is live; who is full lags, who is gone is forgotten, and
// one's trouble is not another's.
func TestEventsReachTheLive(t *testing.T) {
	b, subs := newBox(), memory.New(nil)
	teller := NewTeller(subs, b, slog.New(slog.DiscardHandler))
	var left []store.Key
	teller.Watch(func(store.Key) {}, func(k store.Key) { left = append(left, k) })
	for _, a := range []Address{full, gone, here} {
		require.NoError(t, teller.Follow(t.Context(), a, "ann", key.ID, true))
	}
	require.NoError(t, teller.Follow(t.Context(), page, "ann", key.ID, false))
	require.NoError(t, teller.Follow(t.Context(), Address{"evil", "here"}, "ann", key.ID, true))
	b.refuse[full], b.refuse[gone] = ErrFull, ErrGone

	teller.Events(t.Context(), state(2), chunk(2))
	b.refuse[full] = nil
	teller.Events(t.Context(), state(3), chunk(3))
	teller.Progress(t.Context(), key, &store.Progress{Attempt: 1, Rev: 1, Percent: 5})
	end := (&store.End{Status: store.Succeeded, Payload: []byte(`1`)}).Event(4)
	teller.Events(t.Context(), state(4), end)

	types := func(a Address) (out []string) {
		for _, m := range b.got[a] {
			out = append(out, m.Type)
		}
		return out
	}
	require.Equal(t, []string{"chunk", "chunk", "progress", "result"}, types(here))
	require.Equal(t, []string{"lag", "progress"}, types(full), "no event is sent behind a hole; state goes on")
	require.EqualValues(t, 2, b.got[full][0].LastSeq)
	require.Equal(t, []string{"progress"}, types(page))
	require.Empty(t, types(gone))
	require.Empty(t, types(Address{"evil", "here"}), "a tenant is a wall")
	following, err := subs.Subscribers(t.Context(), "acme", key.ID)
	require.NoError(t, err)
	require.Len(t, following, 2, "the live one is done with, the two that page are not")
	require.Empty(t, left)
	require.NoError(t, teller.Leave(t.Context(), full))
	require.NoError(t, teller.Unfollow(t.Context(), page, key.ID))
	require.Equal(t, []store.Key{key}, left, "told once, when the last has left")
}

// Law 8, as a property: whatever is reported when, the first is told at once,
// the last is told before Close returns, order holds, and no two tellings are
// closer than the interval but for the last.
func TestCoalescer(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			type telling struct {
				rev uint64
				at  time.Time
			}
			var told []telling
			c := &Coalescer{tell: func(p *store.Progress) { told = append(told, telling{p.Rev, time.Now()}) }}
			n := rapid.IntRange(0, 50).Draw(r, "reports")
			begin := time.Now()
			for i := range n {
				c.Report(&store.Progress{Rev: uint64(i + 1)})
				if i == 0 {
					require.Len(t, told, 1)
				}
				time.Sleep(time.Duration(rapid.IntRange(0, 80).Draw(r, "ms")) * time.Millisecond) // fake
				synctest.Wait()
			}
			spent := time.Since(begin)
			c.Close()
			c.Report(&store.Progress{Rev: 1 << 20})
			c.Close()
			if n == 0 {
				require.Empty(t, told)
				return
			}
			require.EqualValues(t, n, told[len(told)-1].rev, "the newest is told")
			for i := 1; i < len(told); i++ {
				require.Greater(t, told[i].rev, told[i-1].rev, "none twice, none late")
				if i < len(told)-1 {
					require.GreaterOrEqual(t, told[i].at.Sub(told[i-1].at), ProgressInterval)
				}
			}
			require.LessOrEqual(t, len(told), int(spent/ProgressInterval)+2)
		})
	})
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
