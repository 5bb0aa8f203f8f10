package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestList(t *testing.T) {
	d := startTestDemo(t)
	mustContain(t, d.run(exitOK, "list").err.String(), "no calls")
	d.run(exitOK, "call", "emit", `{"chunks": 2, "progress": true}`)
	d.run(exitFailed, "call", "fail.often", `{"code": "no_stock"}`)
	id := d.id("call", "wait", "-d")

	rows := strings.Split(strings.TrimSpace(d.output("list")), "\n")
	require.Len(t, rows, 4)
	mustContain(t, rows[0], "ID ", "ACTION", "STATUS", "DONE", "AGE", "TOOK", "ATTEMPT", "CODE")
	mustContain(t, rows[1], id, "wait", "running")
	mustContain(t, rows[2], "fail.often", "failed", "no_stock")
	mustContain(t, rows[3], "emit", "succeeded", "100%")

	all := parseLines(t, d.output("list", "--json"))
	require.Len(t, all, 3)
	assert.Equal(t, id, all[0]["id"])
	assert.Nil(t, all[0]["endedAt"])
	assert.Equal(t, "no_stock", all[1]["code"])
	assert.Equal(t, 100.0, all[2]["percent"])
	all = parseLines(t, d.output("list", "--json", "--status", "failed"))
	require.Len(t, all, 1)
	assert.Equal(t, "fail.often", all[0]["action"])
	all = parseLines(t, d.output("list", "--json", "--action", "emit", "-n", "1"))
	require.Len(t, all, 1)
	assert.Equal(t, "succeeded", all[0]["status"])
	assert.Len(t, parseLines(t, d.output("list", "--json", "-n", "2")), 2)
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
		require.NoError(t, callTable(calls, a.Now()).print(&b, a.columns(), a.outStyle()))
		rows := strings.Split(b.String(), "\n")
		assert.Equal(t, want, strings.Fields(rows[0]), "in %d columns", width)
		assert.LessOrEqual(t, len([]rune(rows[1])), width)
	}
}

func TestDead(t *testing.T) {
	d := startTestDemo(t)
	mustContain(t, d.run(exitOK, "dead", "list").err.String(), "no dead letters")
	d.run(exitFailed, "call", "fail.often", `{"code": "no_stock"}`)
	dead := parseLines(t, d.output("dead", "list", "--json"))
	require.Len(t, dead, 1)
	assert.Equal(t, []any{"fail.often", "demo", "no_stock"}, []any{dead[0]["action"], dead[0]["tenant"], dead[0]["code"]})
	id := dead[0]["id"].(string)
	mustContain(t, d.output("dead", "list"), id, "TENANT", "no_stock")
	again := d.id("dead", "retry", id)
	mustContain(t, d.run(exitFailed, "follow", again).err.String(), "no_stock: attempt 3")
	dead = parseLines(t, d.output("dead", "list", "--json", "-n", "1"))
	require.Len(t, dead, 1)
	assert.Equal(t, []any{again, id}, []any{dead[0]["id"], dead[0]["retryOf"]})
	d.run(exitNotFound, "dead", "retry", id, "--tenant", "other")
	d.run(exitNotFound, "dead", "retry", client.NewID())
	alive := d.id("call", "echo.async", "1", "-d")
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
	dead := parseLines(t, run(t, exitOK, "dead", "list", "--json", "-n", "150", "--admin-url", h.URL).out.String())
	require.Len(t, dead, 2)
	assert.Equal(t, []any{"1-of-100", "2-of-100"}, []any{dead[0]["id"], dead[1]["id"]})
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
		p := run(t, exitUnavailable, "dead", "list", "--admin-url", s.URL, "--token", "t")
		mustContain(t, p.err.String(), "not_streamer", "--admin-url")
		s.Close()
	}
	assert.Zero(t, elsewhere, "a redirect was followed")
}
