package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

// banner is what the demo says when it is ready.
type banner struct {
	url, adminURL, dir, token string
	took                      time.Duration
}

// suggestion is a command to try, and what it shows.
type suggestion struct{ command, shows string }

func (b *banner) suggestions(a *App) []suggestion {
	program := a.invocation()
	caller := connection{URL: b.url, access: access{Dir: b.dir}}
	operator := ""
	if b.adminURL != defaultAdminURL {
		operator = " --admin-url " + quote(b.adminURL)
	}
	call := program + " call" + caller.flags()
	return []suggestion{
		{call + ` echo '{"hello": "world"}'`, "answered at once"},
		{call + ` emit '{"chunks": 20, "progress": true, "pauseMs": 200}'`, "chunks and progress"},
		{call + ` flaky '{"failures": 2, "chunks": 3}'`, "fails twice, then works"},
		{call + ` fail.often '{"code": "no_stock"}'`, "fails for good"},
		{call + ` slow '{"ms": 60000}' --detach`, "prints an id: follow it, cancel it"},
		{program + " list" + caller.flags(), "your calls, but those answered at once"},
		{program + " dead list" + operator + caller.access.flags(), "those that failed for good"},
	}
}

// print writes the banner to standard output.
func (b *banner) print(a *App) error {
	st := a.outStyle()
	var out strings.Builder
	fmt.Fprintf(&out, "\n  %s  %s\n\n", st.bold(st.green("streamer demo")), st.dim("ready in "+duration(b.took)))
	for _, line := range [][2]string{
		{"Server", b.url}, {"Operators", b.adminURL}, {"Folder", b.dir}, {"Token", b.token},
	} {
		fmt.Fprintf(&out, "  %s  %-9s  %s\n", st.green("➜"), line[0], st.cyan(line[1]))
	}
	fmt.Fprintf(&out, "\n  Try in another terminal:\n\n")
	all := b.suggestions(a)
	widest := 0
	for _, s := range all {
		widest = max(widest, runewidth.StringWidth(s.command))
	}
	for _, s := range all {
		fmt.Fprintf(&out, "    %s\n", s.line(widest, a.columns(), st))
	}
	fmt.Fprintf(&out, "\n  %s\n\n", st.dim("Ctrl-C stops it. What is queued or running then goes on at the next start."))
	_, err := io.WriteString(a.Stdout, out.String())
	return err
}

// line is the command, and behind it what it shows if there is room: a command
// that is to be copied is not broken by a comment. As a comment of the shell it
// may be copied, too.
func (s suggestion) line(widest, columns int, st style) string {
	comment := strings.Repeat(" ", widest-runewidth.StringWidth(s.command)) + "  # " + s.shows
	if columns > 0 && 4+widest+4+runewidth.StringWidth(s.shows) > columns {
		return s.command
	}
	return s.command + st.dim(comment)
}
