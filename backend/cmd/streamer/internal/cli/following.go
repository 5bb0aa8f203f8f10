package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pay-theory/streamer/client-go"
)

type rawCall = client.Call[json.RawMessage, json.RawMessage]

// following is a call that is shown until it ends, or the user leaves.
type following struct {
	app    *App
	call   *rawCall
	view   view
	server *connection
	// cancels tells that the first interrupt cancels the call.
	cancels bool
	// once tells that the call is never stored: nobody else can follow it.
	once bool
	// attached tells that the call was started elsewhere.
	attached bool
	// keyed tells that the server may name another call: the first with the key.
	keyed bool
}

// run follows the call, and returns how it ended: nil if it has succeeded.
func (f *following) run(parent context.Context, action string) error {
	defer f.view.close()
	if err := f.begin(parent, action); err != nil {
		return err
	}
	for cancelling := false; ; cancelling = true {
		ctx, stop := f.app.interruptible(parent)
		over, err := f.read(ctx)
		left := interrupted(ctx)
		stop()
		switch {
		case over || !left:
			return err
		case !f.cancels || cancelling:
			return f.leave() //nolint:contextcheck // detaching waits for nothing
		}
		f.view.note("cancelling; Ctrl-C again leaves at once")
		if err := f.cancel(parent); err != nil {
			return err
		}
	}
}

// begin shows the call, as soon as its id is settled.
func (f *following) begin(parent context.Context, action string) error {
	if f.keyed {
		ctx, stop := f.app.interruptible(parent)
		_ = f.call.Accepted(ctx) // how it ended, if it did, comes as an event
		left := interrupted(ctx)
		stop()
		if left {
			return f.leave() //nolint:contextcheck // detaching waits for nothing
		}
	}
	if err := f.view.begin(f.call.ID(), action); err != nil {
		return failed("standard output", "", err)
	}
	return nil
}

// cancel asks for the call to be cancelled.
func (f *following) cancel(parent context.Context) error {
	ctx, stop := f.app.interruptible(parent)
	defer stop()
	err := f.call.Cancel(ctx)
	if interrupted(ctx) {
		return f.leave() //nolint:contextcheck // detaching waits for nothing
	}
	return err
}

// read shows events until the end; over tells that it has come. The other
// errors are those of reading and writing.
func (f *following) read(ctx context.Context) (over bool, _ error) {
	for e, err := range f.call.Events(ctx) {
		if e.Kind == client.KindEnd {
			return true, f.end(ctx, e.Seq, err)
		}
		if err != nil {
			return false, err
		}
		switch e.Kind {
		case client.KindChunk:
			err = f.view.chunk(e.Seq, e.Chunk)
		case client.KindProgress:
			err = f.view.progress(e.Progress)
		case client.KindAttempt:
			err = f.view.attempt(e.Seq, e.Attempt)
		case client.KindEnd:
		}
		if err != nil {
			f.call.Detach() //nolint:contextcheck // it waits for nothing
			return true, failed("standard output", "the call goes on: "+f.command("follow"), err)
		}
	}
	return false, nil
}

// end shows how the call has ended.
func (f *following) end(ctx context.Context, seq uint64, err error) error {
	stored := seq > 0 || f.stored()
	var e *client.Error
	if err == nil {
		result, err := f.call.Result(ctx)
		if err != nil {
			return err
		}
		if err := f.view.succeeded(seq, result, stored); err != nil {
			return failed("standard output", "", err)
		}
		return nil
	}
	if !errors.As(err, &e) {
		return err
	}
	if err := f.view.failed(seq, e); err != nil {
		return failed("standard output", "", err)
	}
	why := ended(e, stored)
	if why.exit == exitNotFound && !f.attached {
		why.exit, why.hint = exitFailed, "" // the handler's word: nobody refuses a request with it
	}
	return why
}

// stored tells whether the server is known to hold the call.
func (f *following) stored() bool { return f.call.State().LastSeq > 0 }

// leave stops following, and says what becomes of the call.
func (f *following) leave() error {
	f.view.close()
	stored := f.stored()
	f.call.Detach()
	switch {
	case f.once:
		f.view.note("left; the call was to be answered at once, and its answer is lost")
	case !stored:
		f.view.note("left; the call is not stored yet: if it ends within seconds, its answer is lost")
		f.suggest()
	default:
		f.view.note("left; the call goes on")
		f.suggest()
	}
	return &failure{exit: exitInterrupted, err: errInterrupted}
}

func (f *following) suggest() {
	f.view.note("  follow it:  " + f.command("follow"))
	f.view.note("  stop it:    " + f.command("cancel"))
}

// command is a command line about this call.
func (f *following) command(verb string) string {
	return fmt.Sprintf("%s %s%s %s", f.app.invocation(), verb, f.server.flags(), f.call.ID())
}
