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
// seen to find it. Readers come one at a time.
type fault struct {
	name  string          // empty: nothing
	again json.RawMessage // to be handed once more, or late
	done  bool
}

// nextEvent takes an event as the client should, or does it wrong.
func (f *fault) nextEvent(ctx context.Context, app *application.Application, call string) (json.RawMessage, error) {
	if event := f.again; event != nil {
		f.again = nil
		return event, nil
	}
	event, err := app.Next(ctx, call)
	if f.done || err != nil || !strings.Contains(string(event), `"event":"chunk"`) {
		return event, err
	}
	switch f.name {
	case "drops": // the first chunk
		f.done = true
		return app.Next(ctx, call)
	case "doubles":
		f.done, f.again = true, event
	case "reorders": // the first two chunks
		f.done, f.again = true, event
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
func (f *fault) linger() {
	if f.name == "lingers" {
		_ = os.Stdout.Close()
		select {}
	}
}
