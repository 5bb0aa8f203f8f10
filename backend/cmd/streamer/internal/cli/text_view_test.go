package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/client-go"
)

// runOnTerminal runs a command line as on a terminal.
func (d *testDemo) runOnTerminal(exit int, args ...string) *program {
	d.t.Helper()
	p := newProgram("")
	p.app.StdoutTerminal, p.app.StderrTerminal, p.app.Color = true, true, true
	p.app.Width = func() int { return 80 }
	return p.start(d.args(args...)...).wait(d.t, exit)
}

func TestCallOnATerminal(t *testing.T) {
	d := startTestDemo(t)
	p := d.runOnTerminal(exitOK, "call", "echo", `{"a":[1]}`)
	if got := p.out.String(); got != "{\n  \"a\": [\n    1\n  ]\n}\n" || p.err.String() != "" {
		t.Errorf("standard output is %q, standard error is %q", got, p.err)
	}
	p = d.runOnTerminal(exitOK, "call", "emit", `{"chunks": 5, "progress": true, "pauseMs": 150}`)
	want := ""
	for i := range 5 {
		want += fmt.Sprintf(`{"i":%d,"attempt":1}`, i+1) + "\n"
	}
	if got := p.out.String(); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "}\n") {
		t.Errorf("printed %q", got)
	}
	mustContain(t, p.err.String(), "━", "emitting", "%  ")
	end := p.err.String()[strings.LastIndex(p.err.String(), clearLine)+len(clearLine):]
	mustContain(t, escapes.ReplaceAllString(end, ""), "✓ emit succeeded in", "5 chunks")
	if strings.Contains(end, "━") {
		t.Errorf("the status line is still there: %q", end)
	}

	p = d.runOnTerminal(exitOK, "call", "slow", `{"ms": 600}`, "--quiet")
	if strings.Contains(p.out.String(), "━") || p.err.String() != "" {
		t.Errorf("with --quiet, standard output is %q, standard error is %q", p.out, p.err)
	}
}

func TestStatusOnStandardError(t *testing.T) {
	d := startTestDemo(t)
	p := newProgram("")
	p.app.StderrTerminal = true
	p.start(d.args("call", "emit", `{"chunks": 3, "progress": true, "pauseMs": 300}`)...).wait(t, exitOK)
	if strings.Count(p.out.String(), "\n") != 4 || strings.Contains(p.out.String(), "━") {
		t.Errorf("the pipe got %q", p.out)
	}
	mustContain(t, p.err.String(), "━", "emit", "✓ emit succeeded")
	if strings.Contains(p.err.String(), "\x1b[3") {
		t.Error("there are colours without Color")
	}
	p = newProgram("")
	p.app.StderrTerminal, p.app.Dumb = true, true
	p.start(d.args("call", "slow", `{"ms": 600}`)...).wait(t, exitOK)
	if strings.Contains(p.err.String(), "\x1b") {
		t.Errorf("a dumb terminal got %q", p.err)
	}
}

func TestLostConnectionIsShownOnce(t *testing.T) {
	p := newProgram("")
	v := newTextView(p.app, &display{})
	for _, phase := range []client.Phase{
		client.Connecting, client.Open, client.Reconnecting, client.Connecting, client.Reconnecting, client.Open, client.Closed,
	} {
		v.onState(client.State{Phase: phase})
	}
	if got := p.err.String(); got != "the connection was lost; reconnecting\nreconnected\n" {
		t.Errorf("printed %q", got)
	}
}

// The end of a call may come before the client's state says that it is connected.
func TestEndShowsThatTheConnectionIsBack(t *testing.T) {
	p := newProgram("")
	v := newTextView(p.app, &display{})
	for _, phase := range []client.Phase{client.Open, client.Reconnecting} {
		v.onState(client.State{Phase: phase})
	}
	if err := v.end(3, []byte(`1`), nil, true); err != nil {
		t.Fatal(err)
	}
	v.onState(client.State{Phase: client.Closed})
	if got := p.err.String(); got != "the connection was lost; reconnecting\nreconnected\n" {
		t.Errorf("printed %q", got)
	}
}

func TestDiscardedChunksAreShown(t *testing.T) {
	p := newProgram("")
	v := newTextView(p.app, &display{})
	for range 3 {
		if err := v.event(&rawEvent{Kind: client.KindChunk, Chunk: []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	for _, attempt := range []client.Attempt{{Number: 2, Code: client.CodeWorkerLost, Discarded: 2}, {Number: 3, Code: client.CodeContinue}} {
		if err := v.event(&rawEvent{Kind: client.KindAttempt, Attempt: attempt}); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.err.String(); got != "attempt 2 (worker_lost): the last 2 chunks above no longer count\n" || v.chunks != 1 {
		t.Errorf("printed %q, and %d chunks count", got, v.chunks)
	}
}

// closedPipe is a standard output that was closed.
type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestBrokenOutput(t *testing.T) {
	d := startTestDemo(t)
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
		p.app.Stdout = closedPipe{}
		p.start(d.args(args...)...).wait(t, exitFailed)
		mustContain(t, p.err.String(), io.ErrClosedPipe.Error())
	}
	if !errors.Is((&jsonView{app: &App{Stdout: closedPipe{}}}).start("", ""), io.ErrClosedPipe) {
		t.Error("the error of a write is lost")
	}
}
