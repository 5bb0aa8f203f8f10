package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pay-theory/streamer/client-go"
)

type followCommand struct {
	ID callID `arg:"" name:"id" help:"Id of the call."`

	display
	connection
}

func (*followCommand) Help() string {
	return `The exit code is that of the call: 0 if it has succeeded, 1 if it has failed, 3 if it was cancelled.`
}

func (k *followCommand) Run(a *App) error {
	f := &callViewer{app: a, view: k.newView(a), server: &k.connection, cancels: k.CancelOnInterrupt, attached: true}
	c, err := f.dial()
	if err != nil {
		return err
	}
	defer disconnect(c)
	if f.call, err = attach(c, k.ID); err != nil {
		return err
	}
	return f.follow("")
}

// attach returns the call with an id.
func attach(c *client.Client, id callID) (*rawCall, error) {
	return client.Action[json.RawMessage, json.RawMessage, json.RawMessage]("").Attach(c, string(id))
}

// callViewer shows a call until it ends, or the user interrupts.
type callViewer struct {
	app    *App
	call   *rawCall
	view   view
	server *connection
	// cancels reports that the first interrupt cancels the call.
	cancels bool
	// inline reports that the call is never stored: no other client can follow it.
	inline bool
	// attached reports that the call was started elsewhere.
	attached bool
	// keyed reports that the server may answer with the id of another call: the
	// first one with the same idempotency key.
	keyed bool
}

// dial connects to the server, unless the user interrupts.
func (f *callViewer) dial() (*client.Client, error) {
	ctx, stop := f.app.interruptible()
	defer stop()
	return f.server.dial(ctx, f.view.onState)
}

// follow shows the call, and returns how it ended: nil if it has succeeded.
func (f *callViewer) follow(action string) error {
	defer f.view.close()
	if f.keyed { // the id is final when the call is accepted; the events report a failure
		if left, _ := f.app.untilInterrupted(f.call.Accepted); left {
			return f.detach()
		}
	}
	if err := f.view.start(f.call.ID(), action); err != nil {
		return outputFailure(err)
	}
	for cancelling := false; ; cancelling = true {
		ended := false
		left, err := f.app.untilInterrupted(func(ctx context.Context) (err error) {
			ended, err = f.showEvents(ctx)
			return err
		})
		switch {
		case ended || !left:
			return err
		case !f.cancels || cancelling:
			return f.detach()
		}
		f.view.note("cancelling; Ctrl-C again stops following at once")
		switch left, err := f.app.untilInterrupted(f.call.Cancel); {
		case left:
			return f.detach()
		case err != nil:
			return err
		}
	}
}

// showEvents shows events until the end; ended reports that there is nothing more
// to show.
func (f *callViewer) showEvents(ctx context.Context) (ended bool, _ error) {
	for e, err := range f.call.Events(ctx) {
		if e.Kind == client.KindEnd {
			return true, f.showEnd(ctx, e.Seq, err)
		}
		if err != nil {
			return false, err
		}
		if err := f.view.event(&e); err != nil {
			f.call.Detach() //nolint:contextcheck // detaching does not block
			return true, failed("standard output", "the call continues: "+f.commandLine("follow"), err)
		}
	}
	return false, nil
}

func (f *callViewer) showEnd(ctx context.Context, seq uint64, err error) error {
	stored := seq > 0 || f.stored()
	var result json.RawMessage
	if err == nil {
		result, err = f.call.Result(ctx)
	}
	var e *client.Error
	if err != nil && !errors.As(err, &e) {
		return err
	}
	if err := f.view.end(seq, result, e, stored); err != nil || e == nil {
		return outputFailure(err)
	}
	why := endFailure(e, stored)
	if why.exit == exitNotFound && !f.attached {
		why.exit, why.hint = exitFailed, "" // a handler chose this code: the server does not refuse requests with it
	}
	return why
}

// stored reports whether the server is known to have stored the call.
func (f *callViewer) stored() bool { return f.call.State().LastSeq > 0 }

// detach stops following, and prints what happens to the call.
func (f *callViewer) detach() error {
	f.view.close()
	stored := f.stored()
	f.call.Detach()
	switch {
	case f.inline:
		f.view.note("stopped following; the call is answered at once or not at all, and its answer is lost")
	case !stored:
		f.view.note("stopped following; the call is not stored yet: if it ends within seconds, its answer is lost")
	default:
		f.view.note("stopped following; the call continues")
	}
	if !f.inline {
		f.view.note("  follow it:  " + f.commandLine("follow"))
		f.view.note("  cancel it:  " + f.commandLine("cancel"))
	}
	return &failure{exit: exitInterrupted, err: errInterrupted}
}

// commandLine is a command line about this call.
func (f *callViewer) commandLine(verb string) string {
	return fmt.Sprintf("%s %s%s %s", f.app.invocation(), verb, f.server.flags(), f.call.ID())
}
