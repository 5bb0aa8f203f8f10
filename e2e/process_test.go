package e2e

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain is also the main of the servers that are killed: they are this test
// binary, started again.
func TestMain(m *testing.M) {
	serverproc.RunChild()
	goleak.VerifyTestMain(m)
}

func build(t *testing.T, pkg string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "program")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, pkg).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// process is a command that was started.
type process struct {
	*exec.Cmd
	output  bytes.Buffer // may be read when it has ended
	pattern *regexp.Regexp
	found   chan string // holds one
	ended   chan struct{}
	err     error // of Cmd.Wait
}

// startProcess starts a command, and returns what the first group of a pattern
// matches in its output as soon as there is a match. The process is killed at
// the test's end.
func startProcess(t *testing.T, pattern string, cmd *exec.Cmd) (p *process, found string) {
	t.Helper()
	p = &process{Cmd: cmd, pattern: regexp.MustCompile(pattern), found: make(chan string, 1), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	require.NoError(t, cmd.Start())
	go func() {
		defer close(p.ended)
		p.err = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.ended
	})
	select {
	case found = <-p.found:
	case <-p.ended:
		t.Fatalf("the process did not come up: %v\n%s", p.err, &p.output)
	case <-time.After(time.Minute):
		t.Fatal("the process does not come up")
	}
	return p, found
}

// Write takes the output.
func (p *process) Write(b []byte) (int, error) {
	p.output.Write(b)
	if m := p.pattern.FindSubmatch(p.output.Bytes()); m != nil {
		select {
		case p.found <- string(m[1]):
		default:
		}
	}
	return len(b), nil
}

// requireEnd waits until the process has ended without an error.
func (p *process) requireEnd(t *testing.T) {
	t.Helper()
	<-p.ended
	require.NoError(t, p.err, "%s", &p.output)
}
