package cli

import (
	"errors"
	"fmt"

	"github.com/pay-theory/streamer/client-go"
)

type cancelCommand struct {
	ID   callID `arg:"" name:"id" help:"Id of the call."`
	Wait bool   `short:"w" help:"Wait for the end of the call. The exit code is then that of the call: 3 if it was cancelled."`

	connection
}

func (*cancelCommand) Help() string {
	return `A queued call ends at once. A running one is asked to stop, and is ended after 10 s if it does not; ` +
		`it may still succeed before that. A call that has ended does not change.`
}

func (k *cancelCommand) Run(a *App) error {
	ctx, stop := a.interruptible()
	defer stop()
	c, err := k.dial(ctx, nil)
	if err != nil {
		return err
	}
	defer disconnect(c)
	call, err := attach(c, k.ID)
	if err != nil {
		return err
	}
	if err = call.Cancel(ctx); err == nil {
		// The answer to a cancel does not report whether the call exists; the
		// answer to a subscribe does.
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
		return endFailure(e, true)
	}
	outcome := "was asked to stop"
	switch {
	case status == client.StatusCancelled:
		outcome = "is cancelled"
	case status.Ended():
		outcome = fmt.Sprintf("has %s already", status)
	}
	_, err = fmt.Fprintf(a.Stderr, "the call %s %s\n", k.ID, outcome)
	return err
}
