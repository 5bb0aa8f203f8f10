package cli

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/pay-theory/streamer/client-go"
)

// textView prints a call for people, or its bare output for pipes: chunks and
// result go to standard output, all else to standard error.
type textView struct {
	app     *App
	screen  *screen
	quiet   bool
	collect bool

	// action is empty for a call that was started elsewhere: nothing but its id
	// is known of it.
	id, action string
	started    time.Time
	// held are the chunks that count, if they are collected; chunks counts
	// those that count in any case.
	held   []json.RawMessage
	chunks int

	mu sync.Mutex
	// lost tells that the connection was there and is gone.
	met, lost bool
}

func newTextView(a *App, d *display) *textView {
	return &textView{app: a, screen: newScreen(a, d.Quiet), quiet: d.Quiet, collect: d.Collect, started: a.Now()}
}

func (v *textView) begin(id, action string) error {
	v.id, v.action = id, action
	name := action
	if name == "" {
		name = "call"
	}
	v.screen.begin(name, v.started)
	return nil
}

func (v *textView) chunk(_ uint64, data json.RawMessage) error {
	v.chunks++
	v.screen.update(func(s *barState) { s.chunks = v.chunks })
	if v.collect {
		v.held = append(v.held, data)
		return nil
	}
	return v.print(data, true)
}

// print writes JSON to standard output: laid out for people on a terminal, as
// it came otherwise.
func (v *textView) print(data json.RawMessage, flat bool) error {
	text := string(data)
	if v.app.StdoutTerminal {
		text = v.app.outStyle().pretty(data, flat)
	}
	return v.screen.output(text + "\n")
}

func (v *textView) progress(p client.Progress) error {
	v.screen.update(func(s *barState) { s.percent, s.message = p.Percent, clean(p.Message) })
	return nil
}

func (v *textView) attempt(_ uint64, a client.Attempt) error {
	v.chunks -= a.Void
	v.screen.update(func(s *barState) { s.chunks, s.percent, s.message = v.chunks, 0, "" })
	text := fmt.Sprintf("attempt %d", a.Number)
	switch {
	case a.Restarted:
		text = "the server holds another history of the call: it is told from its start"
	case a.Code != "":
		text += " (" + clean(a.Code) + ")"
	}
	if v.collect {
		v.held = v.held[:max(0, len(v.held)-a.Void)]
	}
	if !v.collect && a.Void > 0 {
		text += fmt.Sprintf(": of the chunks above the last %d count no more", a.Void)
	} else if !v.app.StderrTerminal {
		return nil // a log need not know
	}
	v.note(text)
	return nil
}

func (v *textView) succeeded(_ uint64, result json.RawMessage, stored bool) error {
	v.screen.close()
	if err := v.flush(); err != nil {
		return err
	}
	if err := v.print(result, false); err != nil {
		return err
	}
	if stored && v.app.StderrTerminal {
		text := "succeeded"
		if v.action != "" {
			text = v.action + " succeeded in " + duration(v.app.Now().Sub(v.started))
		}
		if v.chunks > 0 {
			text += " · " + count(v.chunks, "chunk")
		}
		v.say(v.app.errStyle().green("✓ ") + v.app.errStyle().dim(text+" · "+v.id))
	}
	return nil
}

func (v *textView) failed(uint64, *client.Error) error {
	v.screen.close()
	return v.flush()
}

// flush prints the chunks that were held.
func (v *textView) flush() error {
	for _, data := range v.held {
		if err := v.print(data, true); err != nil {
			return err
		}
	}
	v.held = nil
	return nil
}

func (v *textView) connection(s client.State) {
	v.mu.Lock()
	was := v.lost
	switch s.Phase {
	case client.Connected:
		v.met, v.lost = true, false
	case client.Waiting, client.Connecting:
		v.lost = v.met
	case client.Closed:
		v.lost = false
		was = false
	}
	lost := v.lost
	v.mu.Unlock()
	if lost == was {
		return
	}
	v.screen.update(func(s *barState) { s.lost = lost })
	if lost {
		v.note("the connection was lost; connecting anew")
	} else {
		v.note("connected again")
	}
}

func (v *textView) note(text string) { v.say(v.app.errStyle().dim(text)) }

func (v *textView) say(line string) {
	if !v.quiet {
		v.screen.note(line + "\n")
	}
}

func (v *textView) close() { v.screen.close() }

// count says how many of a noun there are.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
