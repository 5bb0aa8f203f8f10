package cli

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/client-go"
)

// onTerminal runs a command line as if somebody was looking.
func (w *world) onTerminal(exit int, args ...string) *program {
	w.t.Helper()
	p := newProgram("")
	p.app.StdoutTerminal, p.app.StderrTerminal, p.app.Color = true, true, true
	p.app.Width = func() int { return 80 }
	return p.start(w.args(args...)...).wait(w.t, exit)
}

func TestCallOnATerminal(t *testing.T) {
	w := newWorld(t)
	p := w.onTerminal(exitOK, "call", "echo", `{"a":[1]}`)
	if got := escapes.ReplaceAllString(p.out.String(), ""); got != "{\n  \"a\": [\n    1\n  ]\n}\n" || p.err.String() != "" {
		t.Errorf("printed %q and said %q", got, p.err)
	}
	p = w.onTerminal(exitOK, "call", "emit", `{"chunks": 5, "progress": true, "pauseMs": 150}`)
	out := escapes.ReplaceAllString(p.out.String(), "")
	mustContain(t, out, "━", "emitting", "%  ")
	for _, chunk := range []string{`{"i":1,"attempt":1}`, `{"i":5,"attempt":1}`} {
		if strings.Count(out, chunk) != 1 {
			t.Errorf("%s is there %d times", chunk, strings.Count(out, chunk))
		}
	}
	const erased = "\x1b[J"
	if rest := p.out.String()[strings.LastIndex(p.out.String(), erased)+len(erased):]; strings.Contains(rest, "━") || !strings.HasSuffix(out, "}\n") {
		t.Errorf("the bar stays: %q", rest)
	}
	mustContain(t, escapes.ReplaceAllString(p.err.String(), ""), "✓ emit succeeded in", "5 chunks")

	p = w.onTerminal(exitOK, "call", "slow", `{"ms": 600}`, "--quiet")
	if strings.Contains(p.out.String(), "━") || p.err.String() != "" {
		t.Errorf("quietly it printed %q and said %q", p.out, p.err)
	}
}

func TestBarOnStandardError(t *testing.T) {
	w := newWorld(t)
	p := newProgram("")
	p.app.StderrTerminal = true
	p.start(w.args("call", "emit", `{"chunks": 3, "progress": true, "pauseMs": 300}`)...).wait(t, exitOK)
	if strings.Count(p.out.String(), "\n") != 4 || strings.Contains(p.out.String(), "━") {
		t.Errorf("a pipe got %q", p.out)
	}
	mustContain(t, p.err.String(), "━", "emit", "✓ emit succeeded")
	if strings.Contains(p.err.String(), "\x1b[3") {
		t.Error("there are colours, and none are allowed")
	}
	p = newProgram("")
	p.app.StderrTerminal, p.app.Dumb = true, true
	p.start(w.args("call", "slow", `{"ms": 600}`)...).wait(t, exitOK)
	if strings.Contains(p.err.String(), "\x1b") {
		t.Errorf("a terminal that can do nothing got %q", p.err)
	}
}

func TestConnectionIsToldOnce(t *testing.T) {
	p := newProgram("")
	v := newTextView(p.app, &display{})
	for _, phase := range []client.Phase{
		client.Connecting, client.Connected, client.Waiting, client.Connecting, client.Waiting, client.Connected, client.Closed,
	} {
		v.connection(client.State{Phase: phase})
	}
	if got := p.err.String(); got != "the connection was lost; connecting anew\nconnected again\n" {
		t.Errorf("said %q", got)
	}
}

func TestVoidChunksAreTold(t *testing.T) {
	p := newProgram("")
	v := newTextView(p.app, &display{})
	for range 3 {
		if err := v.chunk(0, []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	for _, mark := range []client.Attempt{{Number: 2, Code: client.CodeWorkerLost, Void: 2}, {Number: 3, Code: client.CodeContinue}} {
		if err := v.attempt(0, mark); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.err.String(); got != "attempt 2 (worker_lost): of the chunks above the last 2 count no more\n" || v.chunks != 1 {
		t.Errorf("said %q, and %d chunks count", got, v.chunks)
	}
}

// broken is a standard output that was closed.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestBrokenOutput(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{
		{"call", "echo", "1"},
		{"call", "emit", `{"chunks": 1}`},
		{"call", "echo", "--json"},
		{"call", "emit", `{"chunks": 1}`, "--collect"},
		{"call", "echo.async", "-d"},
		{"list"},
		{"list", "--json"},
	} {
		p := newProgram("")
		p.app.Stdout = broken{}
		p.start(w.args(args...)...).wait(t, exitFailed)
		mustContain(t, p.err.String(), io.ErrClosedPipe.Error())
	}
	if !errors.Is((&jsonView{app: &App{Stdout: broken{}}}).begin("", ""), io.ErrClosedPipe) {
		t.Error("a write that failed is forgotten")
	}
}
