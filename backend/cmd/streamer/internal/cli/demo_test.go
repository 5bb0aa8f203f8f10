package cli

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

func TestDemoKeepsItsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "folder")
	var tokens []string
	for range 2 {
		p := newProgram("").start("demo", "--port", "0", "--admin-port", "0", "--dir", dir)
		url := p.out.await(t, `(ws://127\.0\.0\.1:\d+)\n`)[1]
		tokens = append(tokens, p.out.await(t, `Token +(\S+)\n`)[1])
		mustContain(t, p.out.await(t, `(?s)Try in.*Ctrl-C`)[0], "streamer call --url "+url+" --dir "+dir+" echo", "streamer dead list --admin-url http://")
		// The token of the first run is valid in the second.
		newProgram("").start("call", "echo", "1", "--url", url, "--token", tokens[0]).wait(t, exitOK)
		p.interrupt()
		p.wait(t, exitOK)
		mustContain(t, p.out.String(), "✓ echo")
		if strings.Contains(p.err.String(), tokens[len(tokens)-1]) {
			t.Error("the token is logged")
		}
	}
	for name, mode := range map[string]os.FileMode{".": 0o700, secretFile: 0o600, ".gitignore": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// The demo makes a .gitignore only in a folder of its own.
func TestDemoInExistingFolder(t *testing.T) {
	d := startTestDemo(t)
	if _, err := os.Stat(filepath.Join(d.dir, ".gitignore")); err == nil {
		t.Error("there is a .gitignore in a folder that existed before")
	}
	if _, err := os.Stat(filepath.Join(d.dir, databaseFile)); err != nil {
		t.Error(err)
	}
}

func TestDemoCannotStart(t *testing.T) {
	d := startTestDemo(t)
	port := d.url[strings.LastIndex(d.url, ":")+1:]
	adminPort := d.adminURL[strings.LastIndex(d.adminURL, ":")+1:]
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, databaseFile), []byte(strings.Repeat("no database ", 20)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ want, args string }{
		{`port ` + port + ` is in use \(hint: --port`, "--port " + port + " --admin-port 0 --dir " + t.TempDir()},
		{`port ` + adminPort + ` is in use \(hint: --admin-port`, "--port 0 --admin-port " + adminPort + " --dir " + t.TempDir()},
		{`streamer\.db is in use by process \d+ \(hint: .*--dir`, "--port 0 --admin-port 0 --dir " + d.dir},
		{`folder of the demo cannot be used: .*\(hint: .*--dir`, "--port 0 --admin-port 0 --dir " + file},
		{`not a Streamer database`, "--port 0 --admin-port 0 --dir " + foreign},
	} {
		p := newProgram("").start(append([]string{"demo"}, strings.Fields(c.args)...)...).wait(t, exitFailed)
		if !regexp.MustCompile(c.want).MatchString(p.err.String()) || strings.Count(p.err.String(), "\n") != 1 {
			t.Errorf("standard error is %q, which does not match %s", p.err, c.want)
		}
		if p.out.String() != "" {
			t.Errorf("printed %q", p.out)
		}
	}
	// A demo that cannot start closes its port.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()[strings.LastIndex(l.Addr().String(), ":")+1:]
	_ = l.Close()
	newProgram("").start("demo", "--port", free, "--admin-port", adminPort, "--dir", t.TempDir()).wait(t, exitFailed)
	if l, err = net.Listen("tcp", "127.0.0.1:"+free); err != nil {
		t.Errorf("the port is still in use: %v", err)
	} else {
		_ = l.Close()
	}
	for _, usage := range []string{"--port 70000", "--port -1", "--grace -1s"} {
		newProgram("").start(append([]string{"demo", "--dir", t.TempDir()}, strings.Fields(usage)...)...).wait(t, exitUsage)
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
	port := "0"
	start := func() (p *program, url string) {
		p = newProgram("").start("demo", "--port", port, "--admin-port", "0", "--dir", dir, "--grace", "1ms")
		return p, p.out.await(t, `(ws://127\.0\.0\.1:\d+)\n`)[1]
	}
	d, url := start()
	port = url[strings.LastIndex(url, ":")+1:]
	call := newProgram("").start("call", "wait", `{"attempts": 1}`, "--url", url, "--dir", dir)
	call.out.await(t, `"attempt":1`)
	d.interrupt()
	d.wait(t, exitOK)
	call.err.await(t, "the connection was lost; reconnecting\n")
	d, _ = start()
	call.wait(t, exitOK)
	mustContain(t, call.err.String(), "reconnected\n", "attempt 2 (shutdown): the last 1 chunk above no longer count")
	mustContain(t, call.out.String(), `{"chunks":1,"attempt":2}`)
	d.interrupt()
	d.wait(t, exitOK)
}
