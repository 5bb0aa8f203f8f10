package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// binary is the program, built once from this package.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "streamer-test-")
	if err == nil {
		binary = filepath.Join(dir, "streamer")
		if runtime.GOOS == "windows" {
			binary += ".exe"
		}
		var out []byte
		if out, err = exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the program cannot be built:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// stream is a stream of a process that a test can wait for.
type stream struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return s.text.Write(b)
}

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *stream) await(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for {
		s.mu.Lock()
		found, changed := re.FindStringSubmatch(s.text.String()), s.changed
		s.mu.Unlock()
		if found != nil {
			return found[len(found)-1]
		}
		select {
		case <-changed:
		case <-late.C:
			t.Fatalf("%s was not printed; this was:\n%s", pattern, s)
		}
	}
}

// process is the program in its own process.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err *stream
}

// start starts a process in a folder.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...), out: &stream{changed: make(chan struct{})}, err: &stream{changed: make(chan struct{})}}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.out, p.err
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "STREAMER_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits for the end of the process, and checks its exit code.
func (p *process) wait(want int) *process {
	p.t.Helper()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		p.t.Errorf("%v: exit code %d, expected %d; standard error: %s", p.cmd.Args[1:], got, want, p.err)
	}
	return p
}

// startDemo starts a demo in a folder, and returns its addresses.
func startDemo(t *testing.T, dir string) (p *process, url, adminURL string) {
	t.Helper()
	p = start(t, dir, "demo", "--port", "0", "--admin-port", "0", "--grace", "20s")
	p.out.await(t, "Ctrl-C stops it")
	return p, p.out.await(t, `(ws://\S+)\n`), p.out.await(t, `(http://\S+)\n`)
}

func TestEverydayUse(t *testing.T) {
	dir := t.TempDir()
	d, url, adminURL := startDemo(t, dir)
	run := func(exit int, args ...string) string {
		t.Helper()
		flag := "--url=" + url
		if args[0] == "dead" {
			flag = "--admin-url=" + adminURL
		}
		return start(t, dir, append(args, flag)...).wait(exit).out.String()
	}
	if got := run(0, "call", "echo", `{"hello": "world"}`); got != `{"hello": "world"}`+"\n" {
		t.Errorf("echo printed %q", got)
	}
	var kinds []string
	for line := range strings.Lines(run(0, "call", "emit", `{"chunks": 2}`, "--json")) {
		var event struct{ Type, ID string }
		if err := json.Unmarshal([]byte(line), &event); err != nil || event.ID == "" {
			t.Fatalf("%q: %v", line, err)
		}
		kinds = append(kinds, event.Type)
	}
	if got := strings.Join(kinds, " "); got != "call chunk chunk result" {
		t.Errorf("the events were %s", got)
	}
	id := strings.TrimSpace(run(0, "call", "wait", "--detach"))
	f := start(t, dir, "follow", id, "--url", url)
	f.out.await(t, `"i":1`)
	run(0, "cancel", id)
	f.wait(3)
	run(1, "call", "fail.often", `{"code": "no_stock"}`)
	dead := strings.Fields(strings.Split(run(0, "dead", "list"), "\n")[1])[0]
	run(1, "follow", strings.TrimSpace(run(0, "dead", "retry", dead)))
	if got := run(0, "list"); strings.Count(got, "\n") != 5 || !strings.Contains(got, id) {
		t.Errorf("listed:\n%s", got)
	}
	token := strings.TrimSpace(start(t, dir, "token", "--subject", "other").wait(0).out.String())
	if got := run(0, "call", "whoami", "--token", token); !strings.Contains(got, `"subject":"other"`) {
		t.Errorf("with the token of another subject the identity is %s", got)
	}
	run(5, "follow", id, "--token", token) // other subjects do not see the call
	run(6, "call", "echo", "--token", "nonsense")
	run(2, "call", "echo", "{nonsense")
	start(t, dir, "list", "--url", "ws://127.0.0.1:1").wait(4)
	d.signal(os.Interrupt)
	d.wait(0)
}

func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no process can be sent an interrupt there")
	}
	dir := t.TempDir()
	d, url, _ := startDemo(t, dir)
	p := start(t, dir, "call", "wait", "--url", url)
	p.out.await(t, `"i":1`)
	p.signal(os.Interrupt)
	p.wait(130)
	id := regexp.MustCompile(`follow .*(\S{36})\n`).FindStringSubmatch(p.err.String())
	if id == nil {
		t.Fatalf("standard error does not say how to follow the call: %s", p.err)
	}
	p = start(t, dir, "call", "wait", "--url", url, "--cancel-on-interrupt")
	p.out.await(t, `"i":1`)
	p.signal(syscall.SIGTERM)
	p.wait(3)

	// The call still runs, and the demo would wait for it during the whole grace
	// period; the second interrupt stops at once. The call survives that, too.
	d.signal(os.Interrupt)
	d.err.await(t, "stopping")
	d.signal(os.Interrupt)
	d.wait(130)
	d, url, _ = startDemo(t, dir)
	f := start(t, dir, "follow", id[1], "--json", "--url", url)
	f.out.await(t, `"type":"attempt".*"attempt":2.*"worker_lost"`)
	start(t, dir, "cancel", id[1], "--url", url).wait(0)
	f.wait(3)
	d.signal(syscall.SIGTERM)
	d.wait(0)
}

func TestFolderOrPortInUse(t *testing.T) {
	dir := t.TempDir()
	d, url, _ := startDemo(t, dir)
	p := start(t, dir, "demo", "--port", "0", "--admin-port", "0").wait(1)
	want := fmt.Sprintf("streamer: %s is in use by process %d ", filepath.Join(".streamer", "streamer.db"), d.cmd.Process.Pid)
	if !strings.HasPrefix(p.err.String(), want) {
		t.Errorf("with a folder in use, standard error is %q", p.err)
	}
	port := url[strings.LastIndex(url, ":")+1:]
	p = start(t, t.TempDir(), "demo", "--port", port, "--admin-port", "0").wait(1)
	if !strings.HasPrefix(p.err.String(), "streamer: port "+port+" is in use") {
		t.Errorf("with a port in use, standard error is %q", p.err)
	}
	d.signal(os.Interrupt)
	d.wait(0)
}
