package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// banner is what the demo prints when it is ready.
type banner struct {
	url, adminURL, dir, token string
	startup                   time.Duration
}

// example is a command to try, and what it shows.
type example struct{ command, shows string }

func (b *banner) examples(a *App) []example {
	program := a.invocation()
	caller := connection{URL: b.url, access: access{Dir: b.dir}}
	operator := ""
	if b.adminURL != defaultAdminURL {
		operator = " --admin-url " + quote(b.adminURL)
	}
	call := program + " call" + caller.flags()
	return []example{
		{call + ` echo '{"hello": "world"}'`, "answered at once"},
		{call + ` emit '{"chunks": 20, "progress": true, "pauseMs": 200}'`, "chunks and progress"},
		{call + ` flaky '{"failures": 2, "chunks": 3}'`, "fails twice, then succeeds"},
		{call + ` fail.often '{"code": "no_stock"}'`, "fails until it is a dead letter"},
		{call + ` slow '{"ms": 60000}' --detach`, "prints an id, to follow or cancel the call"},
		{program + " list" + caller.flags(), "your calls, except those answered at once"},
		{program + " dead list" + operator + caller.access.flags(), "dead letters"},
	}
}

// print writes the banner to standard output.
func (b *banner) print(a *App) error {
	st := a.outStyle()
	var out strings.Builder
	fmt.Fprintf(&out, "\n  %s  %s\n\n", st.bold(st.green("streamer demo")), st.dim("ready in "+formatDuration(b.startup)))
	for _, line := range [][2]string{
		{"Server", b.url}, {"Operators", b.adminURL}, {"Folder", b.dir}, {"Token", b.token},
	} {
		fmt.Fprintf(&out, "  %s  %-9s  %s\n", st.green("➜"), line[0], st.cyan(line[1]))
	}
	fmt.Fprintf(&out, "\n  Try in another terminal:\n\n")
	for _, e := range b.examples(a) {
		fmt.Fprintf(&out, "    %s\n    %s\n", st.dim("# "+e.shows), e.command)
	}
	fmt.Fprintf(&out, "\n  %s\n\n", st.dim("Ctrl-C stops it. Queued and running calls continue at the next start."))
	_, err := io.WriteString(a.Stdout, out.String())
	return err
}
