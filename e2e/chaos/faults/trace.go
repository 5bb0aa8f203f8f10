package faults

import (
	"context"
	"fmt"
	"os/exec"
	"time"
)

// syncs and writes are the system calls that SQLite and its like make.
const (
	syncs  = "fdatasync,fsync"
	writes = "pwrite64"
)

// Trace is a command under which a program is started, so that its system
// calls go wrong. It is nil for those that do not.
type Trace []string

// CanTrace tells whether strace is there, and may trace.
func CanTrace(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fsync", "true").CombinedOutput()
	if err != nil {
		return fmt.Errorf("strace: %w %s", err, out)
	}
	return nil
}

// trace stops the program only at calls that are to go wrong.
func trace(calls string, injections ...string) Trace {
	t := Trace{"strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=" + calls}
	for _, i := range injections {
		t = append(t, "-e", "inject="+i)
	}
	return t
}

// KillAtSync kills the program when a thread of it asks for its nth sync: the
// call is not carried out. A signal cannot be sent from where a seccomp filter
// stops a program (ptrace(2), PTRACE_EVENT stops), so it stops at each call.
func KillAtSync(nth int) Trace {
	return Trace{
		"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + syncs,
		"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", syncs, nth),
	}
}

// SlowDisk lets each sync and each eighth write take so long.
func SlowDisk(d time.Duration) Trace {
	us := d.Microseconds()
	return trace(syncs+","+writes, fmt.Sprintf("%s:delay_enter=%d", syncs, us), fmt.Sprintf("%s:delay_enter=%d:when=8+8", writes, us))
}

// BrokenDisk lets some syncs fail, and some writes find no room. Each thread
// counts for itself.
func BrokenDisk() Trace {
	return trace(syncs+","+writes, syncs+":error=EIO:when=15+9", writes+":error=ENOSPC:when=60+31")
}
