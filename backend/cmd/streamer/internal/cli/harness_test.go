package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// output is a stream that a test can wait for.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until the text matches, and returns the submatches.
func (o *output) await(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for {
		o.mu.Lock()
		found, changed := re.FindStringSubmatch(o.text.String()), o.changed
		o.mu.Unlock()
		if found != nil {
			return found
		}
		select {
		case <-changed:
		case <-late.C:
			t.Fatalf("%s was not printed; this was:\n%s", pattern, o)
		}
	}
}

// awaitURL waits until a demo has printed its address.
func (o *output) awaitURL(t *testing.T) string {
	t.Helper()
	return o.await(t, `(ws://127\.0\.0\.1:\d+)\n`)[1]
}

// program is one run of the program, without a process.
type program struct {
	app         *App
	out, err    *output
	interrupted chan os.Signal
	exit        chan int
}

func newProgram(stdin string) *program {
	p := &program{out: newOutput(), err: newOutput(), interrupted: make(chan os.Signal, 2), exit: make(chan int, 1)}
	p.app = &App{Stdin: strings.NewReader(stdin), Stdout: p.out, Stderr: p.err, Now: time.Now, Interrupts: p.interrupted, Executable: "streamer"}
	return p
}

// start runs a command line in its own goroutine.
func (p *program) start(args ...string) *program {
	go func() { p.exit <- p.app.Run(args) }()
	return p
}

func (p *program) interrupt() { p.interrupted <- syscall.SIGINT }

// wait waits for the exit code.
func (p *program) wait(t *testing.T, want int) *program {
	t.Helper()
	select {
	case got := <-p.exit:
		assert.Equal(t, want, got, "exit code; standard error: %s", p.err)
	case <-time.After(2 * time.Minute):
		t.Fatalf("the program does not end; standard error: %s", p.err)
	}
	return p
}

// run runs a command line, and waits for its end.
func run(t *testing.T, exit int, args ...string) *program {
	t.Helper()
	return newProgram("").start(args...).wait(t, exit)
}

// startDemo starts a demo in a folder, with free ports.
func startDemo(dir string, flags ...string) *program {
	return newProgram("").start(append([]string{"demo", "--port", "0", "--admin-port", "0", "--dir", dir}, flags...)...)
}

// testDemo is a running demo, with its addresses and its token.
type testDemo struct {
	t                         *testing.T
	demo                      *program
	url, adminURL, dir, token string
}

// startTestDemo starts a demo, and stops it when the test has ended.
func startTestDemo(t *testing.T) *testDemo {
	t.Helper()
	d := &testDemo{t: t, dir: t.TempDir()}
	d.demo = startDemo(d.dir, "--grace", "1s")
	t.Cleanup(func() {
		d.demo.interrupt()
		d.demo.wait(t, exitOK)
	})
	d.url = d.demo.out.awaitURL(t)
	d.adminURL = d.demo.out.await(t, `(http://127\.0\.0\.1:\d+)\n`)[1]
	d.token = d.demo.out.await(t, `Token +(\S+)\n`)[1]
	d.demo.out.await(t, `Ctrl-C`)
	return d
}

// args adds the flags that name the demo to a command line.
func (d *testDemo) args(args ...string) []string {
	if args[0] == "dead" {
		return append(args, "--admin-url", d.adminURL, "--dir", d.dir)
	}
	return append(args, "--url", d.url, "--dir", d.dir)
}

// start runs a command line in its own goroutine.
func (d *testDemo) start(args ...string) *program { return newProgram("").start(d.args(args...)...) }

// run runs a command line, and waits for its end.
func (d *testDemo) run(exit int, args ...string) *program {
	d.t.Helper()
	return run(d.t, exit, d.args(args...)...)
}

// output runs a command line that succeeds, and returns its standard output.
func (d *testDemo) output(args ...string) string {
	d.t.Helper()
	return d.run(exitOK, args...).out.String()
}

// id runs a command line that prints an id, and returns it.
func (d *testDemo) id(args ...string) string {
	d.t.Helper()
	return strings.TrimSpace(d.output(args...))
}

// parseLines parses lines of JSON.
func parseLines(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var one map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &one), "%q is not a line of JSON", line)
		all = append(all, one)
	}
	return all
}

func mustContain(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		assert.Contains(t, text, part)
	}
}

// isOneLine checks that the text is one line.
func isOneLine(t *testing.T, text string) {
	t.Helper()
	assert.Equal(t, 1, strings.Count(text, "\n"), "%q is not one line", text)
}
