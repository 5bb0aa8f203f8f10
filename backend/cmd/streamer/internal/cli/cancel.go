package cli

import (
	"context"
	"encoding/json"
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
	// A server does not tell by its answer to a cancel whether there is such a
	// call; following it does.
	if err := call.Cancel(ctx); err != nil {
		return k.why(ctx, err)
	}
	if k.Wait {
		_, err = call.Result(ctx)
	} else {
		err = call.Accepted(ctx)
	}
	status := call.State().Status
	switch {
	case err == nil && status == client.StatusSucceeded:
		_, err = fmt.Fprintf(a.Stderr, "the call %s has succeeded already: there is nothing to cancel\n", k.ID)
		return err
	case !status.Ended() && err == nil:
		_, err = fmt.Fprintf(a.Stderr, "the call %s is asked to stop\n", k.ID)
		return err
	}
	return k.ended(ctx, a, err, status)
}

// ended tells how a call has ended that was to be cancelled.
func (k *cancelCommand) ended(ctx context.Context, a *App, err error, status client.Status) error {
	if !status.Ended() || k.Wait {
		return k.why(ctx, err)
	}
	text := "was cancelled"
	if status == client.StatusFailed {
		text = "has failed already: there is nothing to cancel"
	}
	_, err = fmt.Fprintf(a.Stderr, "the call %s %s\n", k.ID, text)
	return err
}

func (k *cancelCommand) why(ctx context.Context, err error) error {
	if interrupted(ctx) {
		return errInterrupted
	}
	return err
}
