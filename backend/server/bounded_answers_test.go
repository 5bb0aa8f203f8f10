package server_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/require"
)

// fullBatch returns a frame that holds a message as often as one may.
func fullBatch(message string) []byte {
	return []byte("[" + strings.Repeat(message+",", wire.MaxBatch-1) + message + "]")
}

// Invariant 6: whoever sends a request with cancelAfterMs and is gone at once does
// not count as a follower.
func TestInvariant06GoneBeforeTheAck(t *testing.T) {
	var begun, cancelled atomic.Int32
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "wait", func(ctx context.Context, _ json.RawMessage) (string, error) {
		begun.Add(1)
		<-ctx.Done()
		cancelled.Add(1)
		return "", ctx.Err()
	}, streamer.Async())
	h := startWith(t, r, server.Options{})
	for range 20 {
		p := h.dial("ann")
		p.send(`{"type":"request","id":"%s","action":"wait","cancelAfterMs":20}`, wire.NewID())
		require.NoError(t, p.ws.Close())
	}
	require.Eventually(t, func() bool { return begun.Load() > 0 && begun.Load() == cancelled.Load() }, hang, 10*time.Millisecond)
}

// A rule of the router's that panics counts as no, and costs nobody else.
func TestAuthorizePanics(t *testing.T) {
	r := streamer.NewRouter(&streamer.RouterOptions{Authorize: func(context.Context, streamer.Access) bool { panic("mine") }})
	streamer.Handle(r, "quick", func(context.Context, json.RawMessage) (string, error) { return "", nil }, streamer.Async())
	h := startWith(t, r, server.Options{})
	ann, bob := h.dial("ann"), h.dial("bob")
	id := wire.NewID()
	ann.send(`{"type":"request","id":"%s","action":"quick"}`, id)
	ann.expect(wire.TypeAck)
	bob.send(`{"type":"subscribe","ref":"r","id":"%s"}`, id)
	require.Equal(t, wire.CodeNotFound, bob.next().Code)
}

// Invariant 9: whoever asks for many large pages and reads none holds few of them.
func TestInvariant09PagesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streamer.NewRouter(nil)
		streamer.Handle(r, "big", func(context.Context, json.RawMessage) (string, error) { return strings.Repeat("x", 95<<10), nil }, streamer.Async())
		h := inBubble(t, r, server.Options{})
		p := h.dial("ann")
		id := wire.NewID()
		p.send(`{"type":"request","id":"%s","action":"big"}`, id)
		p.expect(wire.TypeResult, wire.TypeAck)
		before := heapNow()
		batch := fullBatch(`{"type":"subscribe","ref":"r","id":"` + id + `"}`)
		sent := make(chan error, 1)
		go func() { // the server may read no more before some are answered
			var err error
			for i := 0; i < 12 && err == nil; i++ {
				err = p.ws.WriteMessage(websocket.TextMessage, batch)
			}
			sent <- err
		}()
		synctest.Wait() // all that can be asked for has been
		require.Less(t, heapNow(), before+40<<20)
		h.dial("ann").pings()          // others are served
		for range 12 * wire.MaxBatch { // each is answered in the end
			p.expect(wire.TypeSnapshot)
		}
		require.NoError(t, <-sent)
	})
}

// unread sends the same frame again and again, until the server reads no more
// of it, and returns by how much the memory has grown. It is for bubbles, where
// the deadline comes only when the server waits, too.
func (p *peer) unread(frame []byte) (grown int64) {
	p.Helper()
	before := heapNow()
	for range 20_000 {
		require.NoError(p, p.ws.SetWriteDeadline(time.Now().Add(time.Second)))
		if p.ws.WriteMessage(websocket.TextMessage, frame) != nil {
			return int64(heapNow()) - int64(before)
		}
	}
	p.Fatal("it goes on reading whoever does not read")
	return 0
}

// Invariant 9: many short answers that nobody reads are bounded by what they take,
// not by their letters.
func TestInvariant09ManySmallAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := inBubble(t, router(), server.Options{})
		grown := h.dial("ann").unread(fullBatch(`{"type":"ping"}`))
		require.Less(t, grown, int64(5<<20))
		h.dial("ann").pings()
	})
}

// Invariant 9: pages of lists are made when there is room for them.
func TestInvariant09ListsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := inBubble(t, router(), server.Options{})
		p := h.dial("ann")
		for range 100 {
			p.send(`{"type":"request","id":"%s","action":"echo","mode":"async"}`, wire.NewID())
			p.expect(wire.TypeAck)
			p.expect(wire.TypeResult)
		}
		grown := p.unread(fullBatch(`{"type":"list","ref":"l","limit":100}`))
		require.Less(t, grown, int64(20<<20))
		h.dial("ann").pings()
	})
}
