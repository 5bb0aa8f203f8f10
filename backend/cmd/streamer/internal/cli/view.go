package cli

import (
	"encoding/json"

	"github.com/pay-theory/streamer/client-go"
)

// display are the flags of commands that show a call.
type display struct {
	JSON              bool `xor:"form" help:"Print every event as one line of JSON."`
	Collect           bool `xor:"form" help:"Hold the chunks until the call has ended, and print only those that count: none of attempts that have died."`
	Quiet             bool `short:"q" help:"Show no progress and no notes; errors only."`
	CancelOnInterrupt bool `help:"Cancel the call on Ctrl-C, and wait for its end. Otherwise Ctrl-C leaves, and the call goes on."`
}

// view shows a call while it is followed. Its methods are called by one
// goroutine, but for connection, which may be called at any time. An error is
// one of writing to standard output.
type view interface {
	begin(id, action string) error
	chunk(seq uint64, data json.RawMessage) error
	progress(p client.Progress) error
	attempt(seq uint64, a client.Attempt) error
	// succeeded and failed show the end. stored tells whether the server holds
	// the call.
	succeeded(seq uint64, result json.RawMessage, stored bool) error
	failed(seq uint64, err *client.Error) error
	// connection shows that the connection was lost, or is there again.
	connection(s client.State)
	// note tells people something.
	note(text string)
	// close takes away what is not meant to stay. Only note may follow.
	close()
}

func (d *display) view(a *App) view {
	if d.JSON {
		return &jsonView{app: a, quiet: d.Quiet, run: 1}
	}
	return newTextView(a, d)
}
