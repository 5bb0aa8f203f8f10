package server_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/require"
)

// The grace of a shutdown ends with Options.Grace or with the context, whichever
// is earlier.
func TestGraceOfAShutdown(t *testing.T) {
	for _, c := range []struct{ option, context, want time.Duration }{
		{time.Second, time.Minute, time.Second},
		{time.Minute, time.Second, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := streamer.NewRouter(nil)
			streamer.Handle(r, "waits", func(ctx context.Context, _ struct{}) (struct{}, error) {
				<-ctx.Done()
				return struct{}{}, context.Cause(ctx)
			}, streamer.Async())
			h := inBubble(t, r, server.Options{Grace: c.option})
			p := h.dial("ann")
			p.call("waits", `{}`)
			p.expect(wire.TypeAck)
			synctest.Wait()
			begun := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), c.context)
			defer cancel()
			go func() {
				for err := error(nil); err == nil; {
					_, _, err = p.ws.ReadMessage()
				}
			}()
			require.NoError(t, h.server.Shutdown(ctx))
			require.Equal(t, c.want, time.Since(begun))
		})
	}
}

// A client that has received closing gets no call accepted any more, even if others
// have not received it yet.
func TestNoCallAfterClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := inBubble(t, router(), server.Options{})
		h.dial("bob").asyncWait() // the shutdown waits for it
		codes := make(chan string)
		const clients = 50
		for range clients {
			p := h.dial("ann")
			go func() {
				for {
					_, frame, err := p.ws.ReadMessage()
					messages, _ := wire.DecodeServerFrame(frame)
					switch {
					case err != nil || len(messages) != 1:
						codes <- "lost"
						return
					case messages[0].Type == wire.TypeClosing:
						request := wire.ClientMessage{Type: wire.TypeRequest, ID: wire.NewID(), Action: "echo", Payload: []byte(`1`)}
						_ = p.ws.WriteMessage(websocket.TextMessage, request.Append(nil))
					default:
						codes <- messages[0].Type + messages[0].Code
						return
					}
				}
			}()
		}
		synctest.Wait()
		ended := make(chan error)
		go func() { ended <- h.server.Shutdown(context.Background()) }()
		answers := map[string]int{}
		for range clients {
			answers[<-codes]++
		}
		require.NoError(t, <-ended)
		require.Equal(t, map[string]int{wire.TypeError + wire.CodeUnavailable: clients}, answers)
	})
}
