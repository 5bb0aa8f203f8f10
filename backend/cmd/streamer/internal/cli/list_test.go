package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go"
)

func TestList(t *testing.T) {
	d := startTestDemo(t)
	mustContain(t, d.run(exitOK, "list").err.String(), "no calls")
	d.run(exitOK, "call", "emit", `{"chunks": 2, "progress": true}`)
	d.run(exitFailed, "call", "fail.often", `{"code": "no_stock"}`)
	id := strings.TrimSpace(d.run(exitOK, "call", "wait", "-d").out.String())

	text := d.run(exitOK, "list").out.String()
	rows := strings.Split(strings.TrimSpace(text), "\n")
	if len(rows) != 4 {
		t.Fatalf("listed\n%s", text)
	}
	mustContain(t, rows[0], "ID ", "ACTION", "STATUS", "DONE", "AGE", "TOOK", "ATTEMPT", "CODE")
	mustContain(t, rows[1], id, "wait", "running")
	mustContain(t, rows[2], "fail.often", "failed", "no_stock")
	mustContain(t, rows[3], "emit", "succeeded", "100%")

	all := parseLines(t, d.run(exitOK, "list", "--json").out.String())
	if len(all) != 3 || all[0]["id"] != id || all[1]["code"] != "no_stock" || all[2]["percent"] != 100.0 || all[0]["endedAt"] != nil {
		t.Errorf("listed %v", all)
	}
	if all := parseLines(t, d.run(exitOK, "list", "--json", "--status", "failed").out.String()); len(all) != 1 || all[0]["action"] != "fail.often" {
		t.Errorf("--status failed lists %v", all)
	}
	if all := parseLines(t, d.run(exitOK, "list", "--json", "--action", "emit", "-n", "1").out.String()); len(all) != 1 || all[0]["status"] != "succeeded" {
		t.Errorf("--action emit lists %v", all)
	}
	if all := parseLines(t, d.run(exitOK, "list", "--json", "-n", "2").out.String()); len(all) != 2 {
		t.Errorf("-n 2 lists %v", all)
	}
	d.run(exitUsage, "list", "--status", "lost")
	d.run(exitOK, "cancel", id)
}

func TestListOnATerminal(t *testing.T) {
	now := time.Now()
	calls := []client.CallInfo{{
		ID: client.NewID(), Action: "a.rather.long.name.of.an.action.that.goes.on", Status: client.StatusFailed, Attempt: 3,
		CreatedAt: now.Add(-90 * time.Minute), EndedAt: now, Code: "no_stock", Percent: 99.9,
	}}
	for width, want := range map[int][]string{
		60:  {"ID", "ACTION", "STATUS"},
		80:  {"ID", "ACTION", "STATUS", "DONE", "AGE", "TOOK"},
		100: {"ID", "ACTION", "STATUS", "DONE", "AGE", "TOOK", "ATTEMPT", "CODE"},
		160: {"ID", "ACTION", "STATUS", "DONE", "AGE", "TOOK", "ATTEMPT", "CODE"},
	} {
		a := newProgram("").app
		a.StdoutTerminal, a.Width = true, func() int { return width }
		var b strings.Builder
		if err := callTable(calls, a.Now()).print(&b, a.columns(), a.outStyle()); err != nil {
			t.Fatal(err)
		}
		rows := strings.Split(b.String(), "\n")
		if got := strings.Fields(rows[0]); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("in %d columns there are %v", width, got)
		}
		if n := len([]rune(rows[1])); n > width {
			t.Errorf("in %d columns a row has %d", width, n)
		}
	}
}

func TestDead(t *testing.T) {
	d := startTestDemo(t)
	mustContain(t, d.run(exitOK, "dead", "list").err.String(), "no dead letters")
	d.run(exitFailed, "call", "fail.often", `{"code": "no_stock"}`)
	dead := parseLines(t, d.run(exitOK, "dead", "list", "--json").out.String())
	if len(dead) != 1 || dead[0]["action"] != "fail.often" || dead[0]["tenant"] != "demo" || dead[0]["code"] != "no_stock" {
		t.Fatalf("the dead letters are %v", dead)
	}
	id := dead[0]["id"].(string)
	mustContain(t, d.run(exitOK, "dead", "list").out.String(), id, "TENANT", "no_stock")
	again := strings.TrimSpace(d.run(exitOK, "dead", "retry", id).out.String())
	mustContain(t, d.run(exitFailed, "follow", again).err.String(), "no_stock: attempt 3")
	dead = parseLines(t, d.run(exitOK, "dead", "list", "--json", "-n", "1").out.String())
	if len(dead) != 1 || dead[0]["id"] != again || dead[0]["retryOf"] != id {
		t.Errorf("the newest dead letter is %v", dead)
	}
	d.run(exitNotFound, "dead", "retry", id, "--tenant", "other")
	d.run(exitNotFound, "dead", "retry", client.NewID())
	alive := strings.TrimSpace(d.run(exitOK, "call", "echo.async", "1", "-d").out.String())
	d.run(exitRefused, "dead", "retry", alive)
	p := d.run(exitRefused, "dead", "list", "--token", d.token)
	mustContain(t, p.err.String(), "forbidden", "streamer:operate")
	d.run(exitRefused, "dead", "list", "--token", "nonsense")
}

func TestDeadPages(t *testing.T) {
	asked := 0
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		next := ""
		if r.URL.Query().Get("cursor") == "" {
			next = "two"
		}
		_, _ = fmt.Fprintf(w, `{"dead": [{"id": "%d-of-%s"}], "cursor": "%s"}`, asked, r.URL.Query().Get("limit"), next)
	}))
	defer h.Close()
	dead := parseLines(t, newProgram("").start("dead", "list", "--json", "-n", "150", "--admin-url", h.URL).wait(t, exitOK).out.String())
	if len(dead) != 2 || dead[0]["id"] != "1-of-100" || dead[1]["id"] != "2-of-100" {
		t.Errorf("two pages contain %v", dead)
	}
}

// A server that is not an admin listener is refused, and redirects are not followed.
func TestNotAnAdminListener(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	for _, h := range []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusNotFound) },
		func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		},
	} {
		s := httptest.NewServer(h)
		p := newProgram("").start("dead", "list", "--admin-url", s.URL, "--token", "t").wait(t, exitUnavailable)
		mustContain(t, p.err.String(), "not_streamer", "--admin-url")
		s.Close()
	}
	if elsewhere != 0 {
		t.Error("a redirect was followed")
	}
}
