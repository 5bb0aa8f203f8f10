package machine

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

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
	if rss := RSS(os.Getpid()); rss < 1<<20 || rss > 1<<32 {
		t.Errorf("this process has %d bytes", rss)
	}
	if rss := RSS(1 << 30); rss != 0 {
		t.Errorf("a process that is not there has %d bytes", rss)
	}
	if text := Describe(t.TempDir()); !strings.Contains(text, runtime.Version()) || strings.Contains(text, " 0 GB") {
		t.Errorf("the machine is described as %s", text)
	}
}

// What a child used counts for its parent while it runs and after it has ended.
func TestUsageOfChildren(t *testing.T) {
	skipUnlessLinux(t)
	const work = "n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done; "
	before := CPU(os.Getpid())
	child := exec.Command("sh", "-c", work+"echo done; read line")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	own, during := CPU(child.Process.Pid), CPU(os.Getpid())
	if own == 0 || during-before < own {
		t.Errorf("a child used %v, and this process with it %v", own, during-before)
	}
	_ = in.Close()
	_ = child.Wait()
	if after := OwnCPU(); after < own {
		t.Errorf("a child used %v, and when it has ended this process with it %v", own, after)
	}
}

func TestFsync(t *testing.T) {
	dir := t.TempDir()
	r, err := Fsync(t.Context(), dir, 200*time.Millisecond)
	if err != nil || r.Calls() == 0 || r.During < 200*time.Millisecond {
		t.Errorf("%v; %v within %v", err, r.Calls(), r.During)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
