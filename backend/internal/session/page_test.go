package session

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/engine"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/stretchr/testify/require"
)

// recorder is a Sender that keeps the seqs of the events it was given.
type recorder struct {
	mu   sync.Mutex
	seqs []uint64
}

func (r *recorder) Send(_ context.Context, _ deliver.Address, frame []byte) error {
	got, err := wire.DecodeServerFrame(frame)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range got {
		r.seqs = append(r.seqs, got[i].Seq)
	}
	return nil
}

func (r *recorder) Close(context.Context, deliver.Address, int) {}

// stream is a running call in a store, with a session beside it.
type stream struct {
	*testing.T
	queue   store.RequestQueue
	session *Session
	sent    *recorder
	state   store.State
	// afterRead is called once, when a page was read and not answered yet.
	afterRead func()
}

func newStream(t *testing.T) *stream {
	w := &stream{T: t, sent: &recorder{}}
	w.queue = faultstore.New(memory.New(nil), faultstore.Hooks{After: faultstore.AfterSuccess(func(op faultstore.Op, _ store.Key) error {
		if f := w.afterRead; op == faultstore.Read && f != nil {
			w.afterRead = nil
			f()
		}
		return nil
	})})
	w.session = newSession()
	w.session.Store, w.session.Notifier = w.queue, deliver.New(nil, w.session.Logger)
	w.session.Engine = engine.New(engine.Options{Store: w.queue, Notifier: w.session.Notifier})
	w.session.Notifier.Open(newInfo().Address(), deliver.OutboxOptions{
		Sender: w.sent, Limit: 1 << 20, Start: func(o *deliver.Outbox) { _ = o.Drain(context.Background()) },
	})
	got, err := w.queue.Accept(t.Context(), store.Request{
		Key: store.Key{Tenant: "acme", ID: wire.NewIDAt(now)}, Subject: "ann", Action: "stream", Input: []byte(`null`),
		Hash: store.Hash("stream", []byte(`null`)), Deadline: now.AddDate(0, 0, 1), Claim: &store.Claimant{},
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
	w.session.Notifier.Publish(w.Context(), &s, e)
}

func (w *stream) subscribe(after uint64) wire.ServerMessage {
	m := ask(w.T, w.session, newInfo(), `{"type":"subscribe","ref":"r","id":"%s","after":%d}`, w.state.ID, after)
	require.Equal(w, wire.TypeSnapshot, m.Type)
	return m
}

// cancelRequested reports whether the call was cancelled.
func (w *stream) cancelRequested() bool {
	s, _, err := w.queue.Read(w.Context(), w.state.Key, 0, 0)
	require.NoError(w, err)
	return s.CancelRequested
}

// Live first, read second: an event that falls between the two is sent twice
// rather than never.
func TestNoEventFallsBetweenPageAndLive(t *testing.T) {
	w := newStream(t)
	w.emit([]byte(`1`))
	// The first read judges who asks; the second makes the page.
	w.afterRead = func() { w.afterRead = func() { w.emit([]byte(`2`)) } }
	page := w.subscribe(0)
	require.False(t, *page.More)
	require.Len(t, page.Events, 2)
	require.Equal(t, []uint64{3}, w.sent.seqs, "the event behind the page comes live")
}

// While pages are still to be asked for, events are not sent live: they would
// lie beyond a hole, and wait there.
func TestPagesBeforeTheLastAreNotLive(t *testing.T) {
	w := newStream(t)
	large := []byte(`"` + strings.Repeat("x", 60_000) + `"`)
	w.emit(large)
	w.emit(large)
	page := w.subscribe(0)
	require.True(t, *page.More)
	w.emit([]byte(`3`))
	require.Empty(t, w.sent.seqs, "a page is missing, and the subscription is live")
	page = w.subscribe(page.Events[len(page.Events)-1].Seq)
	require.False(t, *page.More)
	w.emit([]byte(`4`))
	require.Equal(t, []uint64{5}, w.sent.seqs)
}
