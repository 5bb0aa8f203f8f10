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

// RSS returns how many bytes of memory a process occupies.
func RSS(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	return int64(os.Getpagesize()) * number(bytes.Fields(text), 1)
}

// tick is the unit of processor time in /proc: Linux reports USER_HZ = 100 to
// programs on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// CPU returns the processor time that a process has used, and that of its
// children, theirs, and those of them that have ended.
func CPU(pid int) time.Duration {
	used, parents := map[int]time.Duration{}, map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, _ := os.ReadFile(path)
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		used[id], parents[id] = parseStat(text)
	}
	sum := time.Duration(0)
	for id, own := range used {
		for ancestor := id; ancestor > 0; ancestor = parents[ancestor] {
			if ancestor == pid {
				sum += own
			}
		}
	}
	return sum
}

// OwnCPU returns the processor time that this process has used, without its
// children that run.
func OwnCPU() time.Duration {
	text, _ := os.ReadFile("/proc/self/stat")
	used, _ := parseStat(text)
	return used
}

// parseStat reads /proc/PID/stat: the processor time of a process together with
// its children that have ended, and its parent.
func parseStat(text []byte) (used time.Duration, parent int) {
	// The name, in parentheses, may hold anything. Behind it the state is first,
	// the parent second, and the times are 12th to 15th.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	ticks := int64(0)
	for i := 11; i < 15; i++ {
		ticks += number(fields, i)
	}
	return time.Duration(ticks) * tick, int(number(fields, 1))
}

// number returns the number that a field holds, 0 if there is none.
func number(fields [][]byte, i int) int64 {
	if i >= len(fields) {
		return 0
	}
	n, _ := strconv.ParseInt(string(fields[i]), 10, 64)
	return n
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
