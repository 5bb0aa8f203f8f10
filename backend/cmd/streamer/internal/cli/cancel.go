package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pay-theory/streamer/client-go"
)

// cancelCommand stops the work of a call.
type cancelCommand struct {
	ID   callID `arg:"" name:"id" help:"Id of the call."`
	Wait bool   `short:"w" help:"Wait for the end of the call. The exit code is then that of the call: 3 if it was cancelled."`

	connection
}

// Help is the longer help.
func (*cancelCommand) Help() string {
	return `A queued call ends at once. A running one is asked to stop, and is ended after 10 s if it does not listen; ` +
		`it may still succeed before that. A call that has ended is left as it is.`
}

// Run cancels the call.
func (k *cancelCommand) Run(a *App) error {
	ctx, stop := a.interruptible(context.Background())
	defer stop()
	c, err := k.dial(ctx, nil)
	if err != nil {
		return err
	}
	defer hangUp(c)
	call, err := client.Action[json.RawMessage, client.None, json.RawMessage]("").Attach(c, string(k.ID))
	if err != nil {
		return err
	}
	if err = call.Cancel(ctx); err == nil {
		// The answer to a cancel does not tell whether there is such a call;
		// following it does.
		if k.Wait {
			_, err = call.Result(ctx)
		} else {
			err = call.Accepted(ctx)
		}
	}
	status := call.State().Status
	var e *client.Error
	switch {
	case interrupted(ctx):
		return errInterrupted
	case !status.Ended() && err != nil:
		return err
	case k.Wait && errors.As(err, &e):
		return ended(e, true)
	}
	_, err = fmt.Fprintf(a.Stderr, "the call %s %s\n", k.ID, cancelled[status])
	return err
}

// cancelled is what a cancel has come to, by what the call is then.
var cancelled = map[client.Status]string{
	client.StatusUnknown:   "is asked to stop",
	client.StatusQueued:    "is asked to stop",
	client.StatusRunning:   "is asked to stop",
	client.StatusCancelled: "is cancelled",
	client.StatusSucceeded: "has succeeded: there is nothing to cancel any more",
	client.StatusFailed:    "has failed: there is nothing to cancel any more",
}
