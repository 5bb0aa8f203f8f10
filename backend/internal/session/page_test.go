package session

import (
	"log/slog"
	"sync"
	"testing"

	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/stretchr/testify/require"
)

// post is a Poster that keeps the numbers of the events it was given.
type post struct {
	mu   sync.Mutex
	seqs []uint64
}

func (p *post) Post(_ deliver.Address, messages ...[]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, data := range messages {
		got, err := wire.DecodeServerFrame(data)
		if err != nil {
			return err
		}
		p.seqs = append(p.seqs, got[0].Seq)
	}
	return nil
}

func (p *post) Put(deliver.Address, deliver.Slot, []byte) error { return nil }
func (p *post) Alive(deliver.Address) bool                      { return true }

// stream is a running call in a store, with a session beside it.
type stream struct {
	*testing.T
	queue   store.RequestQueue
	session *Session
	post    *post
	state   store.State
	// afterRead is called once, when a page was read and not answered yet.
	afterRead func()
}

func newStream(t *testing.T) *stream {
	w := &stream{T: t, post: &post{}}
	w.queue = faultstore.New(memory.New(nil), faultstore.Hooks{After: faultstore.AfterSuccess(func(op faultstore.Op, _ store.Key) error {
		if f := w.afterRead; op == faultstore.Read && f != nil {
			w.afterRead = nil
			f()
		}
		return nil
	})})
	w.session = &Session{
		Rules: *rules(), Store: w.queue, Logger: slog.New(slog.DiscardHandler),
		Teller: deliver.NewTeller(memory.New(nil), w.post, slog.New(slog.DiscardHandler)),
	}
	got, err := w.queue.Accept(t.Context(), store.New{
		Key: store.Key{Tenant: "acme", ID: wire.NewIDAt(now)}, Subject: "ann", Action: "stream", Input: []byte(`null`),
		Hash: store.Hash("stream", []byte(`null`)), Deadline: now.AddDate(0, 0, 1), Claim: &store.Claimant{Worker: "w"},
	})
	require.NoError(t, err)
	w.state = got.State
	return w
}

// emit records a chunk and tells it, as an attempt does.
func (w *stream) emit(data []byte) {
	e := store.Event{Kind: store.Chunk, Seq: w.state.LastSeq + 1, Attempt: 1, Data: data}
	s, err := w.queue.Record(w.Context(), store.Fence{Key: w.state.Key, Fence: 1}, store.Report{
		Segment: &store.Segment{First: e.Seq, Last: e.Seq, Events: []store.Event{e}},
	})
	require.NoError(w, err)
	w.state = s
	w.session.Teller.Events(w.Context(), &s, e)
}

func (w *stream) subscribe(after uint64) (answer wire.ServerMessage) {
	w.session.Perform(w.Context(), facts(), Subscribe{Ref: "r", ID: w.state.ID, After: after}, func(m wire.ServerMessage) { answer = m })
	require.Equal(w, wire.TypeSnapshot, answer.Type)
	return answer
}

// Live first, read second: an event that falls between the two is told twice
// rather than never.
func TestNoEventFallsBetweenPageAndLive(t *testing.T) {
	w := newStream(t)
	w.emit([]byte(`1`))
	// The first read judges who asks; the second makes the page.
	w.afterRead = func() { w.afterRead = func() { w.emit([]byte(`2`)) } }
	page := w.subscribe(0)
	require.False(t, *page.More)
	require.Len(t, page.Events, 2)
	require.Equal(t, []uint64{3}, w.post.seqs, "the event behind the page comes live")
}

// While pages are still to be asked for, events are not sent live: they would
// lie beyond a hole, and wait there.
func TestPagesBeforeTheLastAreNotLive(t *testing.T) {
	w := newStream(t)
	large := append(append([]byte{'"'}, make([]byte, 60_000)...), '"')
	for i := range large[1 : len(large)-1] {
		large[i+1] = 'x'
	}
	w.emit(large)
	w.emit(large)
	page := w.subscribe(0)
	require.True(t, *page.More)
	w.emit([]byte(`3`))
	require.Empty(t, w.post.seqs, "a page is missing, and the subscription is live")
	page = w.subscribe(page.Events[len(page.Events)-1].Seq)
	require.False(t, *page.More)
	w.emit([]byte(`4`))
	require.Equal(t, []uint64{5}, w.post.seqs)
}
