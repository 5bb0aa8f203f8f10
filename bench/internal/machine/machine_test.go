package machine

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What is told of this process is plausible.
func TestUsage(t *testing.T) {
	rss, err := RSS(os.Getpid())
	if errors.Is(err, ErrUnknown) {
		t.Skip("SKIPPED: this system does not tell")
	}
	if err != nil || rss < 1<<20 || rss > 1<<32 {
		t.Errorf("%d bytes, %v", rss, err)
	}
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for sum := 0; ; sum++ { // until 100 ms of a processor are used
		if used, err := CPU(os.Getpid()); err != nil || used-before >= 100*time.Millisecond {
			if took := time.Since(begun); err != nil || took < 20*time.Millisecond {
				t.Errorf("%v were used within %v, %v", used-before, took, err)
			}
			break
		}
	}
	if n, err := OpenFiles(); err != nil || n < 20 {
		t.Errorf("%d files, %v", n, err)
	}
	if _, err := RSS(1 << 30); err == nil {
		t.Error("a process that is not there has memory")
	}
}

func TestSync(t *testing.T) {
	dir := t.TempDir()
	before, err := Written(dir)
	if err != nil {
		t.Error(err)
	}
	if m := Describe(dir); m.Cores < 1 || m.Go == "" {
		t.Errorf("%+v", m)
	}
	h, err := Sync(t.Context(), dir, 20*time.Millisecond)
	if err != nil || h.Count() == 0 {
		t.Errorf("%v; %d syncs", err, h.Count())
	}
	if after, err := Written(dir); err != nil || before > 0 && after-before < int64(h.Count())*syncPage {
		t.Errorf("%v; %d bytes were written by %d syncs of %d", err, after-before, h.Count(), syncPage)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What a child used counts while it runs and after it has ended.
func TestUsageOfChildren(t *testing.T) {
	if _, err := CPU(os.Getpid()); errors.Is(err, ErrUnknown) {
		t.Skip("SKIPPED: this system does not tell")
	}
	const work = "n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done; "
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
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
		t.Skipf("SKIPPED: no shell: %v", err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if own, err := Own(); err != nil || own <= 0 {
		t.Errorf("this process has used %v, %v", own, err)
	}
	during, err := CPU(os.Getpid())
	own, failed := CPU(child.Process.Pid)
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	if own == 0 || during-before < own {
		t.Errorf("a child used %v, and the family %v", own, during-before)
	}
	_ = in.Close()
	_ = child.Wait()
	after, err := CPU(os.Getpid())
	if err != nil || after < during {
		t.Errorf("%v were used before the child ended, and %v after, %v", during, after, err)
	}
}

func TestDescription(t *testing.T) {
	m := Machine{Cores: 2, CPU: "A 1", MemoryGB: 24, System: "linux/amd64", Kernel: "6.1", Go: "go1.26", FileSystem: "ext4", Disk: "a virtio disk"}
	if got, want := m.String(), "2 cores (A 1), 24 GB of memory, linux/amd64, kernel 6.1, go1.26, files on ext4 on a virtio disk"; got != want {
		t.Errorf("%s", got)
	}
	if runtime.GOOS == "linux" {
		if m := Describe(t.TempDir()); m.MemoryGB < 1 || m.Kernel == "" || m.FileSystem == "" {
			t.Errorf("%+v", m)
		}
	}
}
