package machine

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func skipUnlessLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: this system does not tell")
	}
}

// The figures of this machine and this process are plausible.
func TestUsage(t *testing.T) {
	skipUnlessLinux(t)
	rss := RSS(os.Getpid())
	assert.Greater(t, rss, int64(1<<20))
	assert.Less(t, rss, int64(1<<32))
	assert.Zero(t, RSS(1<<30), "a process that is not there")
	text := Describe(t.TempDir())
	assert.Contains(t, text, runtime.Version())
	assert.NotContains(t, text, " 0 GB")
}

// What a child used counts for its parent while it runs and after it has ended.
func TestUsageOfChildren(t *testing.T) {
	skipUnlessLinux(t)
	const work = "n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done; "
	before := CPU(os.Getpid())
	child := exec.Command("sh", "-c", work+"echo done; read line")
	in, err := child.StdinPipe()
	require.NoError(t, err)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	own, during := CPU(child.Process.Pid), CPU(os.Getpid())
	assert.Positive(t, own)
	assert.GreaterOrEqual(t, during-before, own, "this process while the child runs")
	_ = in.Close()
	_ = child.Wait()
	assert.GreaterOrEqual(t, OwnCPU(), own, "this process when the child has ended")
}

func TestFsync(t *testing.T) {
	dir := t.TempDir()
	r, err := Fsync(t.Context(), dir, 200*time.Millisecond)
	require.NoError(t, err)
	assert.Positive(t, r.Calls())
	assert.GreaterOrEqual(t, r.During, 200*time.Millisecond)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}
