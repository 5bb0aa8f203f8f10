package machine

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(release))
}

// processor returns the model of the first processor.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// memory returns how many bytes of memory the machine has.
func memory() int64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
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

// device returns where the kernel tells of the device that a directory is on.
func device(dir string) string {
	var s syscall.Stat_t
	if err := syscall.Stat(dir, &s); err != nil {
		return ""
	}
	number := uint64(s.Dev) //nolint:unconvert // its width differs between architectures
	major, minor := number>>8&0xfff, number&0xff|number>>12&0xfff00
	return fmt.Sprintf("/sys/dev/block/%d:%d", major, minor)
}

// disk says on what kind of device a directory is, by the kernel's names of
// devices: it names neither a path nor a host.
func disk(dir string) string {
	at, err := filepath.EvalSymlinks(device(dir))
	if err != nil {
		return ""
	}
	if _, err := os.Stat(filepath.Join(at, "partition")); err == nil {
		at = filepath.Dir(at)
	}
	name := filepath.Base(at)
	for prefix, kind := range map[string]string{"vd": "a virtio disk", "nvme": "an NVMe disk", "xvd": "a Xen disk", "dm-": "a mapped device", "md": "a RAID"} {
		if strings.HasPrefix(name, prefix) {
			return kind
		}
	}
	switch turns, err := os.ReadFile(filepath.Join(at, "queue/rotational")); {
	case err != nil:
		return ""
	case string(bytes.TrimSpace(turns)) == "1":
		return "a rotating disk"
	}
	return "a solid-state disk"
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
