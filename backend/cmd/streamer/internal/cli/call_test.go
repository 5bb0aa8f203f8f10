package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/client-go"
)

func TestCallPrintsBareOutput(t *testing.T) {
	d := startTestDemo(t)
	p := d.run(exitOK, "call", "echo", `{ "n": 1.0, "big": 9007199254740993, "s": "<&>" }`)
	if got := p.out.String(); got != `{ "n": 1.0, "big": 9007199254740993, "s": "<&>" }`+"\n" {
		t.Errorf("the result is not byte for byte the payload: %q", got)
	}
	p = d.run(exitOK, "call", "emit", `{"chunks": 2}`)
	if got := p.out.String(); got != `{"i":1,"attempt":1}`+"\n"+`{"i":2,"attempt":1}`+"\n"+`{"chunks":2,"attempt":1}`+"\n" {
		t.Errorf("printed %q", got)
	}
	if p.err.String() != "" {
		t.Errorf("without a terminal, standard error is %q", p.err)
	}
}

func TestCallReadsItsPayload(t *testing.T) {
	d := startTestDemo(t)
	p := newProgram(" [1,\n2] \n").start(d.args("call", "echo", "-")...).wait(t, exitOK)
	if got := p.out.String(); got != "[1,\n2]\n" {
		t.Errorf("from standard input came %q", got)
	}
	if got, err := newProgram(" {} \n").app.readJSON("it", "-"); string(got) != "{}" || err != nil {
		t.Errorf("space around the JSON is kept: %q, %v", got, err)
	}
	file := filepath.Join(t.TempDir(), "payload.json")
	if err := os.WriteFile(file, []byte(`"file"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := d.run(exitOK, "call", "echo", "@"+file).out.String(); got != `"file"`+"\n" {
		t.Errorf("from a file came %q", got)
	}
	got := d.run(exitOK, "call", "whoami", "--metadata", `{"a":1}`).out.String()
	mustContain(t, got, `"tenant":"demo"`, `"subject":"developer"`, `"metadata":{"a":1}`)
	if got := d.run(exitOK, "call", "echo").out.String(); got != "null\n" {
		t.Errorf("without a payload came %q", got)
	}
}

func TestCallAsJSONLines(t *testing.T) {
	d := startTestDemo(t)
	all := parseLines(t, d.run(exitOK, "call", "emit", `{"chunks": 2}`, "--json").out.String())
	var kinds []string
	for i, l := range all {
		kinds = append(kinds, l["type"].(string))
		if l["id"] != all[0]["id"] || i > 0 && l["seq"] != float64(i+1) {
			t.Errorf("line %d is %v, of the call %v", i, l, all[0])
		}
	}
	if got := strings.Join(kinds, " "); got != "call chunk chunk result" {
		t.Fatalf("came %s", got)
	}
	mustContain(t, d.run(exitOK, "call", "echo", `"<&>"`, "--json").out.String(), `"payload":"<&>"`)
	p := d.run(exitFailed, "call", "fail", `{"code": "no_stock"}`, "--json")
	all = parseLines(t, p.out.String())
	if end := all[len(all)-1]; end["type"] != "error" || end["code"] != "no_stock" || end["final"] != true {
		t.Errorf("the end is %v", end)
	}
	mustContain(t, p.err.String(), "streamer: no_stock: attempt 1 failed")
}

// A reader that removes the discarded chunks at each attempt keeps the valid ones.
// How many are discarded depends on how many were read before the attempt came.
func TestDiscardedChunks(t *testing.T) {
	d := startTestDemo(t)
	const payload = `{"failures": 2, "chunks": 2, "code": "busy"}`
	var chunks, attempts []any
	for _, l := range parseLines(t, d.run(exitOK, "call", "flaky", payload, "--json").out.String()) {
		switch l["type"] {
		case "chunk":
			chunks = append(chunks, l["data"])
			if of := l["data"].(map[string]any)["attempt"]; of != l["attempt"] {
				t.Errorf("a chunk of attempt %v is printed as of %v", of, l["attempt"])
			}
		case "attempt":
			chunks = chunks[:len(chunks)-int(l["void"].(float64))]
			attempts = append(attempts, l["attempt"])
			if l["code"] != "busy" {
				t.Errorf("the attempt is %v", l)
			}
		}
	}
	if got := fmt.Sprint(chunks); got != "[map[attempt:3 i:1] map[attempt:3 i:2]]" || attempts[len(attempts)-1] != 3.0 {
		t.Errorf("the valid chunks are %s after the attempts %v", got, attempts)
	}
	p := d.run(exitOK, "call", "flaky", payload, "--collect")
	if got := p.out.String(); got != `{"i":1,"attempt":3}`+"\n"+`{"i":2,"attempt":3}`+"\n"+`{"chunks":2,"attempt":3}`+"\n" {
		t.Errorf("collected came %q", got)
	}
}

func TestExitCodes(t *testing.T) {
	d := startTestDemo(t)
	stored := d.run(exitOK, "call", "wait", "-d").out.String()
	d.run(exitOK, "cancel", strings.TrimSpace(stored))
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
		{exitCancelled, "cancelled", []string{"follow", strings.TrimSpace(stored)}},
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
		if p.out.String() != "" && c.exit != exitFailed && c.exit != exitCancelled {
			t.Errorf("%v prints %q", c.args, p.out)
		}
		if last := text[strings.LastIndex(strings.TrimSpace(text), "\n")+1:]; !strings.HasPrefix(last, "streamer: ") {
			t.Errorf("%v prints %q, which is not one line beginning with streamer:", c.args, text)
		}
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
		p := newProgram("").start(append(args, flag)...).wait(t, exitUnavailable)
		mustContain(t, p.err.String(), "unavailable", "127.0.0.1:1", "is it running?")
	}
	for _, bad := range []string{"--url=ftp://x", "--url=ws://user:pw@x"} {
		p := newProgram("").start("list", bad).wait(t, exitUsage)
		if strings.Contains(p.err.String(), "pw") {
			t.Errorf("the error contains a password: %s", p.err)
		}
	}
	newProgram("").start("dead", "list", "--admin-url", "ws://127.0.0.1:1").wait(t, exitUsage)
}

func TestDetachFollowCancel(t *testing.T) {
	d := startTestDemo(t)
	id := strings.TrimSpace(d.run(exitOK, "call", "wait", `{"succeed": true}`, "--detach").out.String())
	if !uuid7.MatchString(id) {
		t.Fatalf("printed %q, which is not an id", id)
	}
	f := d.start("follow", id, "--json")
	f.out.await(t, `"type":"chunk"`)
	d.run(exitOK, "cancel", id).err.await(t, "was asked to stop|has succeeded") // it may have ended already
	f.wait(t, exitOK)
	mustContain(t, f.out.String(), `"type":"result"`)
	mustContain(t, d.run(exitOK, "cancel", id).err.String(), "has succeeded")

	id = strings.TrimSpace(d.run(exitOK, "call", "wait", "-d").out.String())
	d.run(exitCancelled, "cancel", id, "--wait")
	mustContain(t, d.run(exitOK, "cancel", id).err.String(), "is cancelled")

	all := parseLines(t, d.run(exitOK, "call", "echo.async", "1", "-d", "--json").out.String())
	if all[0]["type"] != "call" || all[0]["action"] != "echo.async" {
		t.Errorf("printed %v", all)
	}
	// --detach stores a call that would be answered at once.
	id = strings.TrimSpace(d.run(exitOK, "call", "echo", "2", "-d").out.String())
	if got := d.run(exitOK, "follow", id).out.String(); got != "2\n" {
		t.Errorf("the result is %q", got)
	}
	d.run(exitRefused, "call", "nothing", "-d")
}

func TestIdempotencyKeyAndID(t *testing.T) {
	d := startTestDemo(t)
	first := parseLines(t, d.run(exitOK, "call", "emit", `{"chunks": 1}`, "--idempotency-key", "k", "--json").out.String())
	again := parseLines(t, d.run(exitOK, "call", "emit", `{"chunks": 1}`, "--idempotency-key", "k", "--json").out.String())
	if first[0]["id"] != again[0]["id"] {
		t.Errorf("the same key gave %v and %v", first[0], again[0])
	}
	d.run(exitRefused, "call", "emit", `{"chunks": 2}`, "--idempotency-key", "k")
	id := client.NewID()
	for range 2 {
		all := parseLines(t, d.run(exitOK, "call", "emit", `{"chunks": 1}`, "--id", id, "--json").out.String())
		if all[0]["id"] != id || all[len(all)-1]["type"] != "result" {
			t.Errorf("with the id %s came %v", id, all)
		}
	}
	d.run(exitRefused, "call", "emit", `{"chunks": 3}`, "--id", id)
}

func TestDelayAndCancelAfter(t *testing.T) {
	d := startTestDemo(t)
	id := strings.TrimSpace(d.run(exitOK, "call", "echo", "1", "-d", "--delay", "1h").out.String())
	mustContain(t, d.run(exitOK, "list", "--status", "queued").out.String(), id)
	id = strings.TrimSpace(d.run(exitOK, "call", "wait", "-d", "--cancel-after", "0s").out.String())
	d.run(exitCancelled, "follow", id)
}
