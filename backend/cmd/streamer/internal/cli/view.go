package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/pay-theory/streamer/client-go"
)

type (
	rawCall  = client.Call[json.RawMessage, json.RawMessage]
	rawEvent = client.Event[json.RawMessage]
)

// display holds the flags of commands that show a call.
type display struct {
	JSON              bool `xor:"form" help:"Print every event as one line of JSON."`
	Collect           bool `xor:"form" help:"Hold the chunks until the call has ended, and print only those that are valid: none of attempts that failed."`
	Quiet             bool `short:"q" help:"Show no progress and no notes; errors only."`
	CancelOnInterrupt bool `help:"Cancel the call on Ctrl-C, and wait for its end. Otherwise Ctrl-C stops following, and the call continues."`
}

// view shows a call while it is followed. One goroutine calls its methods,
// except onState, which may be called at any time. An error is one of writing
// to standard output.
type view interface {
	start(id, action string) error
	// event shows an event other than the end.
	event(e *rawEvent) error
	// end shows the result or, if failure is not nil, that there is none. stored
	// reports whether the server has stored the call.
	end(seq uint64, result json.RawMessage, failure *client.Error, stored bool) error
	// onState shows that the connection was lost, or restored.
	onState(s client.State)
	// note shows a line on standard error, unless --quiet is given.
	note(text string)
	// close removes the status line. Only note may follow.
	close()
}

func (d *display) newView(a *App) view {
	if d.JSON {
		return &jsonView{app: a, quiet: d.Quiet, currentAttempt: 1}
	}
	return newTextView(a, d)
}

// jsonView prints a call's events as lines of JSON.
type jsonView struct {
	app   *App
	quiet bool
	id    string
	// currentAttempt is the attempt that the next chunk belongs to.
	currentAttempt int
}

// eventLine is one line. Its types are call, chunk, progress, attempt, result
// and error.
type eventLine struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	Action  string `json:"action,omitempty"`
	Seq     uint64 `json:"seq,omitempty"`
	Attempt int    `json:"attempt,omitempty"`

	Percent *float64        `json:"percent,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
	// Void is how many of the newest chunks printed so far are discarded.
	Void      *int `json:"void,omitempty"`
	Restarted bool `json:"restarted,omitempty"`

	Code         string          `json:"code,omitempty"`
	Message      string          `json:"message,omitempty"`
	Field        string          `json:"field,omitempty"`
	Hint         string          `json:"hint,omitempty"`
	Retryable    *bool           `json:"retryable,omitempty"`
	Final        *bool           `json:"final,omitempty"`
	RetryAfterMs int64           `json:"retryAfterMs,omitempty"`
	Details      json.RawMessage `json:"details,omitempty"`
}

// writeJSON writes a value as one line of JSON. Raw JSON in it is compacted,
// and otherwise unchanged.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (v *jsonView) write(line *eventLine) error {
	line.ID = v.id
	return writeJSON(v.app.Stdout, line)
}

func (v *jsonView) start(id, action string) error {
	v.id = id
	return v.write(&eventLine{Type: "call", Action: action})
}

func (v *jsonView) event(e *rawEvent) error {
	switch e.Kind {
	case client.KindChunk:
		return v.write(&eventLine{Type: "chunk", Seq: e.Seq, Attempt: v.currentAttempt, Data: e.Chunk})
	case client.KindProgress:
		p := &e.Progress
		return v.write(&eventLine{Type: "progress", Attempt: p.Attempt, Percent: &p.Percent, Message: p.Message})
	case client.KindAttempt:
		a := &e.Attempt
		v.currentAttempt = a.Number
		return v.write(&eventLine{Type: "attempt", Seq: e.Seq, Attempt: a.Number, Void: &a.Discarded, Code: a.Code, Restarted: a.Restarted})
	case client.KindEnd:
	}
	return nil
}

func (v *jsonView) end(seq uint64, result json.RawMessage, e *client.Error, _ bool) error {
	if e == nil {
		return v.write(&eventLine{Type: "result", Seq: seq, Payload: result})
	}
	return v.write(&eventLine{
		Type: "error", Seq: seq, Code: e.Code, Message: e.Message, Field: e.Field, Hint: e.Hint,
		Retryable: &e.Retryable, Final: &e.Final, RetryAfterMs: e.RetryAfter.Milliseconds(), Details: e.Details,
	})
}

func (v *jsonView) onState(client.State) {}

func (v *jsonView) note(text string) {
	if !v.quiet {
		_, _ = fmt.Fprintln(v.app.Stderr, text)
	}
}

func (v *jsonView) close() {}
