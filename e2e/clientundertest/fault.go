package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/pay-theory/streamer/e2e/application"
)

// fault is what this client does wrong on purpose, so that the suite can be
// seen to find it. Empty: nothing.
type fault string

// mistakes remembers what a wrong client has done. Readers come one at a time.
type mistakes struct {
	again json.RawMessage // to be handed once more, or late
	done  bool
}

// nextEvent takes an event as the client should, or does it wrong.
func (m *mistakes) nextEvent(ctx context.Context, app *application.Application, f fault, call string) (json.RawMessage, error) {
	if m.again != nil {
		event := m.again
		m.again = nil
		return event, nil
	}
	event, err := app.Next(ctx, call)
	if m.done || err != nil || !strings.Contains(string(event), `"event":"chunk"`) {
		return event, err
	}
	switch f {
	case "drops": // the first chunk
		m.done = true
		return app.Next(ctx, call)
	case "doubles":
		m.done, m.again = true, event
	case "reorders": // the first two chunks
		m.done, m.again = true, event
		return app.Next(ctx, call)
	case "silent": // no chunk is ever handed on
		<-ctx.Done()
		return nil, ctx.Err()
	case "crashes":
		panic("this client was told to crash")
	case "chatters": // on the wrong stream
		fmt.Println("got a chunk")
	}
	return event, err
}

// linger never ends, if that is what is to go wrong.
func (f fault) linger() {
	if f == "lingers" {
		_ = os.Stdout.Close()
		select {}
	}
}
