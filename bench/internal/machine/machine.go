// Package machine describes what a benchmark ran on, and measures what its
// processes use.
// Most of it is known on Linux only; elsewhere it is empty or 0.
package machine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/prometheus/procfs"
)

// Describe describes this machine in one line. The file system is that of dir.
func Describe(dir string) string {
	kilobytes, _ := strconv.Atoi(strings.TrimSuffix(lookUp("/proc/meminfo", "MemTotal"), " kB"))
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores (%s), %d GB of memory, %s/%s, kernel %s, %s, files on %s",
		runtime.GOMAXPROCS(0), lookUp("/proc/cpuinfo", "model name"), (kilobytes+1<<19)>>20, runtime.GOOS, runtime.GOARCH,
		bytes.TrimSpace(kernel), runtime.Version(), FileSystem(dir))
}

// lookUp returns the first value of a key in a file of lines "key: value".
func lookUp(path, key string) string {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// FileSystem returns the kind of the file system that a directory is on.
func FileSystem(dir string) string {
	kind, _ := exec.Command("findmnt", "--noheadings", "--output", "FSTYPE", "--target", dir).Output() //nolint:gosec,noctx // it ends at once
	return string(bytes.TrimSpace(kind))
}

// stat returns what Linux says of a process; all is 0 if that is not known.
func stat(p procfs.Proc) procfs.ProcStat {
	s, _ := p.Stat()
	return s
}

// RSS returns how many bytes of memory a process occupies.
func RSS(pid int) int64 {
	p, _ := procfs.NewProc(pid)
	return int64(stat(p).ResidentMemory())
}

// tick is the unit of processor time in /proc: Linux reports USER_HZ = 100 to
// programs on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// used is the processor time of a process together with its children that have
// ended.
func used(s procfs.ProcStat) time.Duration {
	return tick * time.Duration(int(s.UTime+s.STime)+s.CUTime+s.CSTime)
}

// CPU returns the processor time that a process has used, and that of its
// children, theirs, and those of them that have ended.
func CPU(pid int) (sum time.Duration) {
	stats := map[int]procfs.ProcStat{}
	processes, _ := procfs.AllProcs()
	for _, p := range processes {
		stats[p.PID] = stat(p)
	}
	for _, own := range stats {
		for ancestor := own.PID; ancestor > 0; ancestor = stats[ancestor].PPID {
			if ancestor == pid {
				sum += used(own)
			}
		}
	}
	return sum
}

// OwnCPU returns the processor time that this process has used, without its
// children that run.
func OwnCPU() time.Duration {
	self, _ := procfs.Self()
	return used(stat(self))
}

// Fsync writes a page of 4 KiB to a file in dir and has it synced, again and
// again, and measures how long each time takes. The pages are overwritten, as
// SQLite does with its log: that is the least that a disk can be asked for.
func Fsync(ctx context.Context, dir string, during time.Duration) (*load.Result, error) {
	const pages = 256
	path := filepath.Join(dir, "fsync")
	// O_DSYNC has each write followed by what fdatasync does.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|syscall.O_DSYNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(path)
	}()
	page := make([]byte, 4<<10)
	if _, err := f.Write(make([]byte, pages*len(page))); err != nil {
		return nil, err
	}
	result, start := load.NewResult(), time.Now()
	for i := 0; time.Since(start) < during && ctx.Err() == nil; i++ {
		page[0] = byte(i)
		begun := time.Now()
		if _, err := f.WriteAt(page, int64(i%pages*len(page))); err != nil {
			return nil, err
		}
		result.Latency.Record(time.Since(begun))
	}
	result.During = time.Since(start)
	return result, ctx.Err()
}
