package machine

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// tick is the unit of CPU time in /proc: Linux says USER_HZ = 100 to programs
// on every architecture that Go runs on.
const tick = 10 * time.Millisecond

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(release))
}

func fileSystem(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return ""
	}
	switch int64(s.Type) { //nolint:unconvert // its width differs between architectures
	case 0xEF53:
		return "ext4"
	case 0x58465342:
		return "xfs"
	case 0x9123683E:
		return "btrfs"
	case 0x01021994:
		return "tmpfs"
	case 0x794C7630:
		return "overlay"
	}
	return fmt.Sprintf("%#x", s.Type)
}

// CPU returns the processor time that a process has used, in steps of 10 ms.
func CPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything; what follows it is field 3.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, ErrUnknown
	}
	var ticks int64
	for _, field := range fields[11:13] { // user's and system's
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, ErrUnknown
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// RSS returns how many bytes of memory a process occupies.
func RSS(pid int) (int64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, ErrUnknown
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0, ErrUnknown
	}
	return pages * int64(os.Getpagesize()), nil
}

// OpenFiles returns how many files a process may have open. The Go runtime has
// raised it to the hard limit.
func OpenFiles() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	return int(min(limit.Max, 1<<30)), nil
}

// sync has a file's data written to the disk, as SQLite does it on Linux.
func sync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
