package machine

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// tick is the unit of CPU time in /proc: Linux says USER_HZ = 100 to programs
// on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// CPU returns the processor time that a process has used, together with its
// children, theirs, and those of them that have ended; in steps of 10 ms for
// each of them.
func CPU(pid int) (sum time.Duration, err error) {
	parents, err := processes()
	if err != nil {
		return 0, err
	}
	for _, member := range family(pid, parents) {
		used, err := cpuAlone(member)
		switch {
		case errors.Is(err, fs.ErrNotExist) && member != pid:
			continue // it has ended just now
		case err != nil:
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// Own returns the processor time that this process has used, without its
// children.
func Own() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// processes returns the parent of each process.
func processes() (map[int]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	parents := map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		fields, err := stat(pid)
		if err != nil {
			continue // it has ended just now
		}
		parents[pid], _ = strconv.Atoi(string(fields[1]))
	}
	return parents, nil
}

// family returns a process and all that descend from it.
func family(pid int, parents map[int]int) []int {
	members := []int{pid}
	for i := 0; i < len(members); i++ {
		for child, parent := range parents {
			if parent == members[i] {
				members = append(members, child)
			}
		}
	}
	return members
}

// stat returns the fields of /proc/PID/stat behind the name: the state is the
// first, the parent the second.
func stat(pid int) ([][]byte, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil, err
	}
	// The name, in parentheses, may hold anything.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 15 {
		return nil, ErrUnknown
	}
	return fields, nil
}

// cpuAlone returns what a process has used, together with its children that
// have ended.
func cpuAlone(pid int) (time.Duration, error) {
	fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	var ticks int64
	for _, field := range fields[11:15] { // user's and system's, and the children's
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, ErrUnknown
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// Written returns how many bytes the device that a directory is on has written,
// whoever asked it to; 0 where that is not told. What the kernel counts for a
// process (write_bytes) is of no use here: a page that is written over counts
// with all of the folio that it is in, which makes 4 KiB of a log 100 and more.
func Written(dir string) (int64, error) {
	const sector = 512
	text, err := os.ReadFile(filepath.Join(device(dir), "stat"))
	if err != nil {
		return 0, nil //nolint:nilerr // tmpfs has no device, and overlays none of that name
	}
	fields := bytes.Fields(text)
	if len(fields) < 7 {
		return 0, ErrUnknown
	}
	n, err := strconv.ParseInt(string(fields[6]), 10, 64)
	return n * sector, err
}
