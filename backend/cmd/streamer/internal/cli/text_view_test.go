package cli

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/client-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
	assert.Equal(t, "{\n  \"a\": [\n    1\n  ]\n}\n", p.out.String())
	assert.Empty(t, p.err.String())
	p = d.runOnTerminal(exitOK, "call", "emit", `{"chunks": 5, "progress": true, "pauseMs": 150}`)
	want := ""
	for i := range 5 {
		want += fmt.Sprintf(`{"i":%d,"attempt":1}`, i+1) + "\n"
	}
	got := p.out.String()
	assert.True(t, strings.HasPrefix(got, want) && strings.HasSuffix(got, "}\n"), got)
	mustContain(t, p.err.String(), "━", "emitting", "%  ")
	end := p.err.String()[strings.LastIndex(p.err.String(), clearLine)+len(clearLine):]
	mustContain(t, escapes.ReplaceAllString(end, ""), "✓ emit succeeded in", "5 chunks")
	assert.NotContains(t, end, "━", "the status line is still there")

	p = d.runOnTerminal(exitOK, "call", "slow", `{"ms": 600}`, "--quiet")
	assert.NotContains(t, p.out.String(), "━")
	assert.Empty(t, p.err.String())
}

func TestStatusOnStandardError(t *testing.T) {
	d := startTestDemo(t)
	p := newProgram("")
	p.app.StderrTerminal = true
	p.start(d.args("call", "emit", `{"chunks": 3, "progress": true, "pauseMs": 300}`)...).wait(t, exitOK)
	assert.Equal(t, 4, strings.Count(p.out.String(), "\n"), p.out)
	assert.NotContains(t, p.out.String(), "━")
	mustContain(t, p.err.String(), "━", "emit", "✓ emit succeeded")
	assert.NotContains(t, p.err.String(), "\x1b[3", "there are colours without Color")
	p = newProgram("")
	p.app.StderrTerminal, p.app.Dumb = true, true
	p.start(d.args("call", "slow", `{"ms": 600}`)...).wait(t, exitOK)
	assert.NotContains(t, p.err.String(), "\x1b", "a dumb terminal")
}

func TestLostConnectionIsShownOnce(t *testing.T) {
	p := newProgram("")
	v := newTextView(p.app, &display{})
	for _, phase := range []client.Phase{
		client.Connecting, client.Open, client.Reconnecting, client.Connecting, client.Reconnecting, client.Open, client.Closed,
	} {
		v.onState(client.State{Phase: phase})
	}
	assert.Equal(t, "the connection was lost; reconnecting\nreconnected\n", p.err.String())
}

// The end of a call may come before the client's state says that it is connected.
func TestEndShowsThatTheConnectionIsBack(t *testing.T) {
	p := newProgram("")
	v := newTextView(p.app, &display{})
	for _, phase := range []client.Phase{client.Open, client.Reconnecting} {
		v.onState(client.State{Phase: phase})
	}
	require.NoError(t, v.end(3, []byte(`1`), nil, true))
	v.onState(client.State{Phase: client.Closed})
	assert.Equal(t, "the connection was lost; reconnecting\nreconnected\n", p.err.String())
}

func TestDiscardedChunksAreShown(t *testing.T) {
	p := newProgram("")
	v := newTextView(p.app, &display{})
	for range 3 {
		require.NoError(t, v.event(&rawEvent{Kind: client.KindChunk, Chunk: []byte("1")}))
	}
	for _, attempt := range []client.Attempt{{Number: 2, Code: client.CodeWorkerLost, Discarded: 2}, {Number: 3, Code: client.CodeContinue}} {
		require.NoError(t, v.event(&rawEvent{Kind: client.KindAttempt, Attempt: attempt}))
	}
	assert.Equal(t, "attempt 2 (worker_lost): the last 2 chunks above no longer count\n", p.err.String())
	assert.Equal(t, 1, v.chunks)
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
	assert.ErrorIs(t, (&jsonView{app: &App{Stdout: closedPipe{}}}).start("", ""), io.ErrClosedPipe)
}
