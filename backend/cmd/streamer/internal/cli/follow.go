package cli

import (
	"context"
	"encoding/json"

	"github.com/pay-theory/streamer/client-go"
)

// followCommand follows a call by its id.
type followCommand struct {
	ID callID `arg:"" name:"id" help:"Id of the call."`

	display
	connection
}

// Help is the longer help.
func (*followCommand) Help() string {
	return `The exit code is that of the call: 0 if it has succeeded, 1 if it has failed, 3 if it was cancelled.`
}

// Run follows the call.
func (k *followCommand) Run(a *App) error {
	shown := k.display.view(a)
	ctx, stop := a.interruptible(context.Background())
	c, err := k.dial(ctx, shown.connection)
	stop()
	if err != nil {
		return err
	}
	defer hangUp(c)
	call, err := client.Action[json.RawMessage, json.RawMessage, json.RawMessage]("").Attach(c, string(k.ID))
	if err != nil {
		return err
	}
	f := &following{app: a, call: call, view: shown, server: &k.connection, cancels: k.CancelOnInterrupt, attached: true}
	return f.run(context.Background(), "")
}
