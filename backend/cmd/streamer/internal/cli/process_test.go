package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// process is the program in its own process.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err *output
}

// startProcess starts a process in a folder.
func startProcess(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...), out: newOutput(), err: newOutput()}
	p.cmd.Dir, p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = dir, strings.NewReader(`"standard input"`), p.out, p.err
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "STREAMER_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	require.NoError(t, p.cmd.Start())
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
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// wait waits for the end of the process, and checks its exit code.
func (p *process) wait(want int) *process {
	p.t.Helper()
	if err := p.cmd.Wait(); err != nil {
		require.ErrorAs(p.t, err, new(*exec.ExitError))
	}
	assert.Equal(p.t, want, p.cmd.ProcessState.ExitCode(), "%v: exit code; standard error: %s", p.cmd.Args[1:], p.err)
	return p
}

// startDemoProcess starts a demo in a folder, and returns its address.
func startDemoProcess(t *testing.T, dir string) (p *process, url string) {
	t.Helper()
	p = startProcess(t, dir, "demo", "--port", "0", "--admin-port", "0", "--grace", "20s")
	p.out.await(t, "Ctrl-C stops it")
	return p, p.out.awaitURL(t)
}

// The process has the streams, the folder and the exit codes of its commands. What
// they print is tested without a process.
func TestProcess(t *testing.T) {
	dir := t.TempDir()
	d, url := startDemoProcess(t, dir)
	run := func(exit int, args ...string) string {
		t.Helper()
		return startProcess(t, dir, append(args, "--url="+url)...).wait(exit).out.String()
	}
	assert.Equal(t, `{"hello": "world"}`+"\n", run(exitOK, "call", "echo", `{"hello": "world"}`))
	assert.Equal(t, `"standard input"`+"\n", run(exitOK, "call", "echo", "-"))
	id := strings.TrimSpace(run(exitOK, "call", "wait", "--detach"))
	f := startProcess(t, dir, "follow", id, "--url", url)
	f.out.await(t, `"i":1`)
	run(exitOK, "cancel", id)
	f.wait(exitCancelled)
	run(exitFailed, "call", "fail.often", `{"code": "no_stock"}`)
	adminURL := d.out.await(t, `(http://\S+)\n`)[1]
	dead := startProcess(t, dir, "dead", "list", "--admin-url", adminURL).wait(exitOK).out.String()
	mustContain(t, dead, "no_stock")
	token := strings.TrimSpace(startProcess(t, dir, "token", "--subject", "other").wait(exitOK).out.String())
	mustContain(t, run(exitOK, "call", "whoami", "--token", token), `"subject":"other"`)
	run(exitNotFound, "follow", id, "--token", token) // other subjects do not see the call
	run(exitRefused, "call", "echo", "--token", "nonsense")
	run(exitUsage, "call", "echo", "{nonsense")
	startProcess(t, dir, "list", "--url", "ws://127.0.0.1:1").wait(exitUnavailable)
	d.signal(os.Interrupt)
	d.wait(exitOK)
}

func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no process can be sent an interrupt there")
	}
	dir := t.TempDir()
	d, url := startDemoProcess(t, dir)
	p := startProcess(t, dir, "call", "wait", "--url", url)
	p.out.await(t, `"i":1`)
	p.signal(os.Interrupt)
	p.wait(exitInterrupted)
	id := p.err.await(t, `follow .*(\S{36})\n`)[1]
	p = startProcess(t, dir, "call", "wait", "--url", url, "--cancel-on-interrupt")
	p.out.await(t, `"i":1`)
	p.signal(syscall.SIGTERM)
	p.wait(exitCancelled)

	// The call still runs, and the demo would wait for it during the whole grace
	// period; the second interrupt stops at once. The call survives that, too.
	d.signal(os.Interrupt)
	d.err.await(t, "stopping")
	d.signal(os.Interrupt)
	d.wait(exitInterrupted)
	d, url = startDemoProcess(t, dir)
	f := startProcess(t, dir, "follow", id, "--json", "--url", url)
	f.out.await(t, `"type":"attempt".*"attempt":2.*"worker_lost"`)
	startProcess(t, dir, "cancel", id, "--url", url).wait(exitOK)
	f.wait(exitCancelled)
	d.signal(syscall.SIGTERM)
	d.wait(exitOK)
}

// The folder is locked against other processes, and the error names the one that
// has it.
func TestFolderInUse(t *testing.T) {
	dir := t.TempDir()
	d, _ := startDemoProcess(t, dir)
	p := startProcess(t, dir, "demo", "--port", "0", "--admin-port", "0").wait(exitFailed)
	path := filepath.Join(".streamer", "streamer.db")
	mustContain(t, p.err.String(), "streamer: "+path+" is in use by process "+strconv.Itoa(d.cmd.Process.Pid)+" ")
	d.signal(os.Interrupt)
	d.wait(exitOK)
}
