package machine

import (
	"errors"
	"os"
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
	if m := Describe(dir); m.Cores < 1 || m.Go == "" {
		t.Errorf("%+v", m)
	}
	h, err := Sync(t.Context(), dir, 20*time.Millisecond)
	if err != nil || h.Count() == 0 {
		t.Errorf("%v; %d syncs", err, h.Count())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
