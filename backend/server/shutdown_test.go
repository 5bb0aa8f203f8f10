package server_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

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
