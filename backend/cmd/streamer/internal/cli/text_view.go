package cli

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/pay-theory/streamer/client-go"
)

// textView prints a call for people, or the bare output for pipes: chunks and
// result go to standard output, everything else to standard error.
type textView struct {
	app     *App
	screen  *screen
	quiet   bool
	collect bool

	// action is empty for a call that was started elsewhere.
	id, action string
	started    time.Time
	// chunks counts the valid chunks; collected holds them for --collect.
	chunks    int
	collected []json.RawMessage

	mu              sync.Mutex
	connected, lost bool // lost: it was connected before, and is not now
}

func newTextView(a *App, d *display) *textView {
	return &textView{app: a, screen: newScreen(a, d.Quiet), quiet: d.Quiet, collect: d.Collect, started: a.Now()}
}

func (v *textView) start(id, action string) error {
	v.id, v.action = id, action
	name := action
	if name == "" {
		name = "call"
	}
	v.screen.start(name, v.started)
	return nil
}

func (v *textView) event(e *rawEvent) error {
	switch e.Kind {
	case client.KindChunk:
		v.chunks++
		v.screen.update(func(s *status) { s.chunks = v.chunks })
		if !v.collect {
			return v.printJSON(e.Chunk, true)
		}
		v.collected = append(v.collected, e.Chunk)
	case client.KindProgress:
		v.screen.update(func(s *status) { s.percent, s.message = e.Progress.Percent, clean(e.Progress.Message) })
	case client.KindAttempt:
		v.attempt(&e.Attempt)
	case client.KindEnd:
	}
	return nil
}

// attempt prints which chunks are discarded, and, on a terminal, that there is a
// new attempt.
func (v *textView) attempt(a *client.Attempt) {
	v.chunks -= a.Discarded
	v.screen.update(func(s *status) { s.chunks, s.percent, s.message = v.chunks, 0, "" })
	text := fmt.Sprintf("attempt %d", a.Number)
	switch {
	case a.Restarted:
		text = "the server has another history of the call; it starts again from its first event"
	case a.Code != "":
		text += " (" + clean(a.Code) + ")"
	}
	if v.collect {
		v.collected = v.collected[:max(0, len(v.collected)-a.Discarded)]
	}
	if !v.collect && a.Discarded > 0 {
		text += fmt.Sprintf(": the last %s above no longer count", plural(a.Discarded, "chunk"))
	} else if !v.app.StderrTerminal {
		return
	}
	v.note(text)
}

// printJSON writes JSON to standard output: formatted on a terminal, as it
// came otherwise.
func (v *textView) printJSON(data json.RawMessage, oneLine bool) error {
	text := string(data)
	if v.app.StdoutTerminal {
		text = formatJSON(data, oneLine)
	}
	return v.screen.output(text + "\n")
}

func (v *textView) end(_ uint64, result json.RawMessage, failure *client.Error, stored bool) error {
	v.onState(client.State{Phase: client.Open}) // the end may overtake the client's state
	v.screen.close()
	for _, data := range v.collected {
		if err := v.printJSON(data, true); err != nil {
			return err
		}
	}
	if failure != nil {
		return nil // the command reports it
	}
	if err := v.printJSON(result, false); err != nil {
		return err
	}
	if stored && v.app.StderrTerminal {
		text := "succeeded"
		if v.action != "" {
			text = v.action + " succeeded in " + formatDuration(v.app.Now().Sub(v.started))
		}
		if v.chunks > 0 {
			text += " · " + plural(v.chunks, "chunk")
		}
		v.writeNote(v.app.errStyle().green("✓ ") + v.app.errStyle().dim(text+" · "+v.id))
	}
	return nil
}

func (v *textView) onState(s client.State) {
	v.mu.Lock()
	was := v.lost
	switch s.Phase {
	case client.Open:
		v.connected, v.lost = true, false
	case client.Reconnecting, client.Connecting:
		v.lost = v.connected
	case client.Closed:
		v.lost, was = false, false
	}
	lost := v.lost
	v.mu.Unlock()
	if lost == was {
		return
	}
	v.screen.update(func(s *status) { s.lost = lost })
	if lost {
		v.note("the connection was lost; reconnecting")
	} else {
		v.note("reconnected")
	}
}

func (v *textView) note(text string) { v.writeNote(v.app.errStyle().dim(text)) }

func (v *textView) writeNote(line string) {
	if !v.quiet {
		v.screen.note(line + "\n")
	}
}

func (v *textView) close() { v.screen.close() }
