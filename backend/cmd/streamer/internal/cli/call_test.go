package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/client-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCallPrintsBareOutput(t *testing.T) {
	d := startTestDemo(t)
	payload := `{ "n": 1.0, "big": 9007199254740993, "s": "<&>" }`
	assert.Equal(t, payload+"\n", d.output("call", "echo", payload), "the result is byte for byte the payload")
	p := d.run(exitOK, "call", "emit", `{"chunks": 2}`)
	assert.Equal(t, `{"i":1,"attempt":1}`+"\n"+`{"i":2,"attempt":1}`+"\n"+`{"chunks":2,"attempt":1}`+"\n", p.out.String())
	assert.Empty(t, p.err.String(), "standard error without a terminal")
}

func TestCallReadsItsPayload(t *testing.T) {
	d := startTestDemo(t)
	p := newProgram(" [1,\n2] \n").start(d.args("call", "echo", "-")...).wait(t, exitOK)
	assert.Equal(t, "[1,\n2]\n", p.out.String(), "from standard input")
	got, err := newProgram(" {} \n").app.readJSON("it", "-")
	require.NoError(t, err)
	assert.Equal(t, "{}", string(got), "without the space around the JSON")
	file := writeFile(t, `"file"`)
	assert.Equal(t, `"file"`+"\n", d.output("call", "echo", "@"+file))
	identity := d.output("call", "whoami", "--metadata", `{"a":1}`)
	mustContain(t, identity, `"tenant":"demo"`, `"subject":"developer"`, `"metadata":{"a":1}`)
	assert.Equal(t, "null\n", d.output("call", "echo"), "without a payload")
}

// typesOf returns the types of the lines of a call.
func typesOf(lines []map[string]any) string {
	var types []string
	for _, l := range lines {
		types = append(types, l["type"].(string))
	}
	return strings.Join(types, " ")
}

func TestCallAsJSONLines(t *testing.T) {
	d := startTestDemo(t)
	all := parseLines(t, d.output("call", "emit", `{"chunks": 2}`, "--json"))
	require.Equal(t, "call chunk chunk result", typesOf(all))
	for i, l := range all {
		assert.Equal(t, all[0]["id"], l["id"])
		if i > 0 {
			assert.EqualValues(t, i+1, l["seq"])
		}
	}
	mustContain(t, d.output("call", "echo", `"<&>"`, "--json"), `"payload":"<&>"`)
	p := d.run(exitFailed, "call", "fail", `{"code": "no_stock"}`, "--json")
	all = parseLines(t, p.out.String())
	end := all[len(all)-1]
	assert.Equal(t, []any{"error", "no_stock", true}, []any{end["type"], end["code"], end["final"]})
	mustContain(t, p.err.String(), "streamer: no_stock: attempt 1 failed")
}

// A reader that removes the discarded chunks at each attempt keeps the valid ones.
// How many are discarded depends on how many were read before the attempt came.
func TestDiscardedChunks(t *testing.T) {
	d := startTestDemo(t)
	const payload = `{"failures": 2, "chunks": 2, "code": "busy"}`
	var chunks, attempts []any
	for _, l := range parseLines(t, d.output("call", "flaky", payload, "--json")) {
		switch l["type"] {
		case "chunk":
			chunks = append(chunks, l["data"])
			assert.Equal(t, l["data"].(map[string]any)["attempt"], l["attempt"], "a chunk is printed as of another attempt")
		case "attempt":
			chunks = chunks[:len(chunks)-int(l["void"].(float64))]
			attempts = append(attempts, l["attempt"])
			assert.Equal(t, "busy", l["code"])
		}
	}
	assert.Equal(t, "[map[attempt:3 i:1] map[attempt:3 i:2]]", fmt.Sprint(chunks))
	assert.EqualValues(t, 3, attempts[len(attempts)-1])
	want := `{"i":1,"attempt":3}` + "\n" + `{"i":2,"attempt":3}` + "\n" + `{"chunks":2,"attempt":3}` + "\n"
	assert.Equal(t, want, d.output("call", "flaky", payload, "--collect"))
}

func TestExitCodes(t *testing.T) {
	d := startTestDemo(t)
	stored := d.id("call", "wait", "-d")
	d.run(exitOK, "cancel", stored)
	for _, c := range []struct {
		exit int
		want string
		args []string
	}{
		{exitFailed, "no_stock: attempt 1", []string{"call", "fail", `{"code": "no_stock"}`}},
		{exitFailed, "not_found: attempt 1", []string{"call", "fail", `{"code": "not_found"}`}},
		{exitFailed, "forbidden: attempt 3", []string{"call", "fail.often", `{"code": "forbidden"}`}},
		{exitFailed, "not_found: attempt 3", []string{"call", "fail.often", `{"code": "not_found"}`}},
		{exitFailed, "handler_panic", []string{"call", "panic"}},
		{exitFailed, "deadline_exceeded", []string{"call", "wait", "--mode", "async", "--timeout", "50ms"}},
		{exitCancelled, "cancelled", []string{"follow", stored}},
		{exitNotFound, "not_found", []string{"follow", client.NewID()}},
		{exitNotFound, "not_found", []string{"cancel", client.NewID()}},
		{exitRefused, "unknown_action", []string{"call", "nothing"}},
		{exitRefused, "forbidden", []string{"call", "scoped", "1"}},
		{exitRefused, "(at /count)", []string{"call", "strict", `{"name": "a", "count": 0, "color": "red"}`}},
		{exitRefused, "mode_refused", []string{"call", "wait", "--mode", "sync"}},
		{exitRefused, "(hint: the token came from --token or STREAMER_TOKEN)", []string{"call", "echo", "--token", "abc"}},
		{exitRefused, "30 days", []string{"call", "echo", "--delay", "999h"}},
		{exitUsage, "is not JSON", []string{"call", "echo", "{nonsense"}},
		{exitUsage, "32 KiB", []string{"call", "echo", `"` + strings.Repeat("x", maxJSON) + `"`}},
		{exitUsage, "no such file", []string{"call", "echo", "@/nowhere/at/all"}},
		{exitUsage, "--detach", []string{"call", "echo", "-d", "--mode", "sync"}},
		{exitUsage, "can't be used together", []string{"call", "echo", "--json", "--collect"}},
		{exitUsage, "UUIDv7", []string{"follow", "17"}},
		{exitUsage, "limit", []string{"list", "-n", "0"}},
		{exitUsage, "unknown flag", []string{"list", "--nonsense"}},
	} {
		p := d.run(c.exit, c.args...)
		text := p.err.String()
		mustContain(t, text, c.want)
		if c.exit != exitFailed && c.exit != exitCancelled {
			assert.Empty(t, p.out.String(), c.args)
		}
		last := text[strings.LastIndex(strings.TrimSpace(text), "\n")+1:]
		assert.Regexp(t, `^streamer: `, last, "the last line of %v", c.args)
	}
}

func TestNoServer(t *testing.T) {
	for _, args := range [][]string{
		{"call", "echo"}, {"follow", client.NewID()}, {"cancel", client.NewID()}, {"list"}, {"dead", "list"}, {"dead", "retry", client.NewID()},
	} {
		flag := "--url=ws://127.0.0.1:1"
		if args[0] == "dead" {
			flag = "--admin-url=http://127.0.0.1:1"
		}
		p := run(t, exitUnavailable, append(args, flag)...)
		mustContain(t, p.err.String(), "unavailable", "127.0.0.1:1", "is it running?")
	}
	for _, bad := range []string{"--url=ftp://x", "--url=ws://user:pw@x"} {
		assert.NotContains(t, run(t, exitUsage, "list", bad).err.String(), "pw")
	}
	run(t, exitUsage, "dead", "list", "--admin-url", "ws://127.0.0.1:1")
}

func TestDetachFollowCancel(t *testing.T) {
	d := startTestDemo(t)
	id := d.id("call", "wait", `{"succeed": true}`, "--detach")
	require.Regexp(t, uuid7, id)
	f := d.start("follow", id, "--json")
	f.out.await(t, `"type":"chunk"`)
	d.run(exitOK, "cancel", id).err.await(t, "was asked to stop|has succeeded") // it may have ended already
	f.wait(t, exitOK)
	mustContain(t, f.out.String(), `"type":"result"`)
	mustContain(t, d.run(exitOK, "cancel", id).err.String(), "has succeeded")

	id = d.id("call", "wait", "-d")
	d.run(exitCancelled, "cancel", id, "--wait")
	mustContain(t, d.run(exitOK, "cancel", id).err.String(), "is cancelled")

	all := parseLines(t, d.output("call", "echo.async", "1", "-d", "--json"))
	assert.Equal(t, []any{"call", "echo.async"}, []any{all[0]["type"], all[0]["action"]})
	// --detach stores a call that would be answered at once.
	assert.Equal(t, "2\n", d.output("follow", d.id("call", "echo", "2", "-d")))
	d.run(exitRefused, "call", "nothing", "-d")
}

func TestIdempotencyKeyAndID(t *testing.T) {
	d := startTestDemo(t)
	first := parseLines(t, d.output("call", "emit", `{"chunks": 1}`, "--idempotency-key", "k", "--json"))
	again := parseLines(t, d.output("call", "emit", `{"chunks": 1}`, "--idempotency-key", "k", "--json"))
	assert.Equal(t, first[0]["id"], again[0]["id"])
	d.run(exitRefused, "call", "emit", `{"chunks": 2}`, "--idempotency-key", "k")
	id := client.NewID()
	for range 2 {
		all := parseLines(t, d.output("call", "emit", `{"chunks": 1}`, "--id", id, "--json"))
		assert.Equal(t, id, all[0]["id"])
		assert.Equal(t, "result", all[len(all)-1]["type"])
	}
	d.run(exitRefused, "call", "emit", `{"chunks": 3}`, "--id", id)
}

func TestDelayAndCancelAfter(t *testing.T) {
	d := startTestDemo(t)
	id := d.id("call", "echo", "1", "-d", "--delay", "1h")
	mustContain(t, d.output("list", "--status", "queued"), id)
	d.run(exitCancelled, "follow", d.id("call", "wait", "-d", "--cancel-after", "0s"))
}

// writeFile writes a file in a folder of its own, and returns its path.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
