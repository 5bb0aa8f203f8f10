package cli

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requireMode checks the permissions of a file, where the system has them.
func requireMode(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		assert.Equal(t, mode, info.Mode().Perm(), path)
	}
}

func TestDemoKeepsItsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "folder")
	firstToken := ""
	for range 2 {
		p := startDemo(dir)
		url := p.out.awaitURL(t)
		token := p.out.await(t, `Token +(\S+)\n`)[1]
		if firstToken == "" {
			firstToken = token
		}
		mustContain(t, p.out.await(t, `(?s)Try in.*Ctrl-C`)[0],
			"streamer call --url "+url+" --dir "+dir+" echo", "streamer dead list --admin-url http://")
		// The token of the first run is valid in the second.
		run(t, exitOK, "call", "echo", "1", "--url", url, "--token", firstToken)
		p.interrupt()
		p.wait(t, exitOK)
		mustContain(t, p.out.String(), "✓ echo")
		assert.NotContains(t, p.err.String(), token, "the token is logged")
	}
	requireMode(t, dir, 0o700)
	requireMode(t, filepath.Join(dir, secretFile), 0o600)
	requireMode(t, filepath.Join(dir, ".gitignore"), 0o600)
}

// The demo makes a .gitignore only in a folder of its own.
func TestDemoInExistingFolder(t *testing.T) {
	d := startTestDemo(t)
	assert.NoFileExists(t, filepath.Join(d.dir, ".gitignore"))
	assert.FileExists(t, filepath.Join(d.dir, databaseFile))
}

func TestDemoCannotStart(t *testing.T) {
	d := startTestDemo(t)
	port := d.url[strings.LastIndex(d.url, ":")+1:]
	adminPort := d.adminURL[strings.LastIndex(d.adminURL, ":")+1:]
	foreign := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(foreign, databaseFile), []byte(strings.Repeat("no database ", 20)), 0o600))
	for _, c := range []struct{ want, args string }{
		{`port ` + port + ` is in use \(hint: --port`, "--port " + port + " --admin-port 0 --dir " + t.TempDir()},
		{`port ` + adminPort + ` is in use \(hint: --admin-port`, "--port 0 --admin-port " + adminPort + " --dir " + t.TempDir()},
		{`streamer\.db is in use by process \d+ \(hint: .*--dir`, "--port 0 --admin-port 0 --dir " + d.dir},
		{`folder of the demo cannot be used: .*\(hint: .*--dir`, "--port 0 --admin-port 0 --dir " + writeFile(t, "")},
		{`not a Streamer database`, "--port 0 --admin-port 0 --dir " + foreign},
	} {
		p := run(t, exitFailed, append([]string{"demo"}, strings.Fields(c.args)...)...)
		assert.Regexp(t, c.want, p.err.String())
		isOneLine(t, p.err.String())
		assert.Empty(t, p.out.String())
	}
	// A demo that cannot start closes its port.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, free, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	run(t, exitFailed, "demo", "--port", free, "--admin-port", adminPort, "--dir", t.TempDir())
	l, err = net.Listen("tcp", "127.0.0.1:"+free)
	require.NoError(t, err, "the port is still in use")
	_ = l.Close()
	for _, usage := range []string{"--port 70000", "--port -1", "--grace -1s"} {
		run(t, exitUsage, append([]string{"demo", "--dir", t.TempDir()}, strings.Fields(usage)...)...)
	}
}

func TestDemoPrintsAttempts(t *testing.T) {
	d := startTestDemo(t)
	d.run(exitFailed, "call", "fail.often", `{"code": "no_stock"}`)
	d.run(exitFailed, "call", "panic")
	d.demo.out.await(t, `· fail\.often  \S+  attempt 3  no_stock`)
	d.demo.out.await(t, `· panic  \S+  panicked`)
}

// After a restart, the server continues its calls, and the command that follows
// one of them continues, too.
func TestCallSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	d := startDemo(dir, "--grace", "1ms")
	url := d.out.awaitURL(t)
	call := newProgram("").start("call", "wait", `{"attempts": 1}`, "--url", url, "--dir", dir)
	call.out.await(t, `"attempt":1`)
	d.interrupt()
	d.wait(t, exitOK)
	call.err.await(t, "the connection was lost; reconnecting\n")
	d = startDemo(dir, "--grace", "1ms", "--port", url[strings.LastIndex(url, ":")+1:])
	call.wait(t, exitOK)
	mustContain(t, call.err.String(), "reconnected\n", "attempt 2 (shutdown): the last 1 chunk above no longer count")
	mustContain(t, call.out.String(), `{"chunks":1,"attempt":2}`)
	d.interrupt()
	d.wait(t, exitOK)
}
