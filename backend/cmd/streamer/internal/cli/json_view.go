package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/pay-theory/streamer/client-go"
)

// jsonView prints a call's events as lines of JSON, for programs.
type jsonView struct {
	app   *App
	quiet bool
	id    string
	// run is the attempt that the next chunk is of.
	run int
}

// eventLine is a line of it. Its types are call, chunk, progress, attempt,
// result and error.
type eventLine struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	Action  string `json:"action,omitempty"`
	Seq     uint64 `json:"seq,omitempty"`
	Attempt int    `json:"attempt,omitempty"`

	Percent *float64        `json:"percent,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
	// Void is how many of the chunks before, counted from the last, are void.
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

// writeLine writes a value as one line of JSON. Raw JSON in it is compacted,
// and otherwise left as it is.
func writeLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (v *jsonView) write(line eventLine) error {
	line.ID = v.id
	return writeLine(v.app.Stdout, line)
}

func (v *jsonView) begin(id, action string) error {
	v.id = id
	return v.write(eventLine{Type: "call", Action: action})
}

func (v *jsonView) chunk(seq uint64, data json.RawMessage) error {
	return v.write(eventLine{Type: "chunk", Seq: seq, Attempt: v.run, Data: data})
}

func (v *jsonView) progress(p client.Progress) error {
	return v.write(eventLine{Type: "progress", Attempt: p.Attempt, Percent: &p.Percent, Message: p.Message})
}

func (v *jsonView) attempt(seq uint64, a client.Attempt) error {
	v.run = a.Number
	return v.write(eventLine{Type: "attempt", Seq: seq, Attempt: a.Number, Void: &a.Void, Code: a.Code, Restarted: a.Restarted})
}

func (v *jsonView) succeeded(seq uint64, result json.RawMessage, _ bool) error {
	return v.write(eventLine{Type: "result", Seq: seq, Payload: result})
}

func (v *jsonView) failed(seq uint64, e *client.Error) error {
	return v.write(eventLine{
		Type: "error", Seq: seq, Code: e.Code, Message: e.Message, Field: e.Field, Hint: e.Hint,
		Retryable: &e.Retryable, Final: &e.Final, RetryAfterMs: e.RetryAfter.Milliseconds(), Details: e.Details,
	})
}

func (v *jsonView) connection(client.State) {}

func (v *jsonView) note(text string) {
	if !v.quiet {
		_, _ = fmt.Fprintln(v.app.Stderr, text)
	}
}

func (v *jsonView) close() {}
