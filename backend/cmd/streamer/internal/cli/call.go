package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pay-theory/streamer/client-go"
)

type callCommand struct {
	Action  string  `arg:"" help:"Name of the action."`
	Payload *string `arg:"" optional:"" name:"json" help:"Payload: JSON, @FILE to read it from a file, or - for standard input. Default: none."`

	Mode           string         `enum:"auto,sync,async" default:"auto" help:"auto lets the server decide; sync has the call answered at once or not at all; async has it stored before it runs. Default: auto"`
	Timeout        time.Duration  `placeholder:"TIME" help:"Time for the whole call, waiting included, such as 90s or 2h. Default: the server's, 24h"`
	IdempotencyKey *string        `placeholder:"KEY" help:"Calls of one action with the same key and payload are one call."`
	Delay          time.Duration  `placeholder:"TIME" help:"Do not start before this time has passed."`
	CancelAfter    *time.Duration `placeholder:"TIME" help:"Cancel the call when nobody has followed it for this time."`
	Metadata       string         `placeholder:"JSON" help:"JSON object for the handler, beside the payload; or @FILE."`
	ID             callID         `name:"id" placeholder:"UUID" help:"Id of the call, a UUIDv7: sending the same call again is safe. Default: a new one"`
	Detach         bool           `short:"d" help:"Store the call, print its id, and do not follow it. Implies --mode=async."`

	display
	connection
}

func (*callCommand) Help() string {
	return `Chunks and the result go to standard output: formatted on a terminal, as they came otherwise, one a line. ` +
		`Progress and notes go to standard error.

Ctrl-C stops following the call, and says how to follow or cancel it. The call continues if it is stored.`
}

func (k *callCommand) Run(a *App) error {
	request, err := k.request(a)
	if err != nil {
		return err
	}
	f := &callViewer{
		app: a, view: k.newView(a), server: &k.connection, cancels: k.CancelOnInterrupt, inline: k.Mode == "sync",
		keyed: k.IdempotencyKey != nil,
	}
	c, err := f.dial()
	if err != nil {
		return err
	}
	defer disconnect(c)
	if f.call, err = request.Start(context.Background(), c); err != nil {
		return err
	}
	if k.Detach {
		return k.printID(a, f.call)
	}
	return f.follow(k.Action)
}

func (k *callCommand) request(a *App) (r client.Request[json.RawMessage, json.RawMessage], err error) {
	var payload, metadata json.RawMessage
	if k.Payload != nil {
		if payload, err = a.readJSON("the payload", *k.Payload); err != nil {
			return r, err
		}
	}
	if k.Metadata != "" {
		if metadata, err = a.readJSON("--metadata", k.Metadata); err != nil {
			return r, err
		}
	}
	r = client.Action[json.RawMessage, json.RawMessage, json.RawMessage](k.Action).With(payload).Delay(k.Delay)
	if k.ID != "" {
		r = r.ID(string(k.ID))
	}
	if k.IdempotencyKey != nil {
		r = r.IdempotencyKey(*k.IdempotencyKey)
	}
	if metadata != nil {
		r = r.Metadata(metadata)
	}
	if k.Timeout != 0 {
		r = r.Timeout(k.Timeout)
	}
	if k.CancelAfter != nil {
		r = r.CancelAfter(*k.CancelAfter)
	}
	switch {
	case k.Detach && k.Mode == "sync":
		return r, usageFailure("--detach needs a call that is stored; a call with --mode=sync is not", "")
	case k.Detach || k.Mode == "async":
		r = r.Async()
	case k.Mode == "sync":
		r = r.Sync()
	}
	return r, nil
}

// printID waits until the call is stored, and prints its id.
func (k *callCommand) printID(a *App, call *rawCall) error {
	switch left, err := a.untilInterrupted(call.Accepted); {
	case err != nil && left:
		return errInterrupted
	case err != nil:
		return err
	}
	if k.JSON {
		return writeJSON(a.Stdout, eventLine{Type: "call", ID: call.ID(), Action: k.Action})
	}
	_, err := fmt.Fprintln(a.Stdout, call.ID())
	return err
}
