package campaign

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// syncs and writes are the system calls with which SQLite reaches the disk.
const (
	syncs  = "fdatasync,fsync"
	writes = "pwrite64"
)

// canTrace reports whether strace is installed, and allowed to trace.
func canTrace(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, "strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fsync", "true").CombinedOutput(); err != nil {
		return fmt.Errorf("strace: %w %s", err, out)
	}
	return nil
}

// strace returns the command under which a program runs so that its system calls
// fail.
func strace(options ...string) []string {
	return append([]string{"strace", "-f", "-qq", "-o", "/dev/null"}, options...)
}

// killAtSync kills the program when one of its threads requests its nth sync,
// which is not carried out. With --seccomp-bpf strace could not send the signal
// (ptrace(2), PTRACE_EVENT stops).
func killAtSync(nth int) []string {
	return strace("-e", "trace="+syncs, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", syncs, nth))
}

// slowDisk delays each sync and each eighth write.
func slowDisk(d time.Duration) []string {
	us := d.Microseconds()
	return strace("--seccomp-bpf", "-e", "trace="+syncs+","+writes,
		"-e", fmt.Sprintf("inject=%s:delay_enter=%d", syncs, us), "-e", fmt.Sprintf("inject=%s:delay_enter=%d:when=8+8", writes, us))
}

// brokenDisk fails some syncs with EIO and some writes with ENOSPC, counted for
// each thread.
func brokenDisk() []string {
	return strace("--seccomp-bpf", "-e", "trace="+syncs+","+writes,
		"-e", "inject="+syncs+":error=EIO:when=15+9", "-e", "inject="+writes+":error=ENOSPC:when=60+31")
}

// volume is a directory at which a small file system in memory may be mounted.
type volume string

func (v volume) mount(size int64) error {
	if err := os.MkdirAll(string(v), 0o700); err != nil {
		return err
	}
	options := fmt.Sprintf("size=%d,mode=0700,nosuid,nodev,noexec", size)
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", string(v)).CombinedOutput() // #nosec G204 -- our own directory
	if err != nil {
		return errors.Join(fmt.Errorf("mounting a small file system: %w %s", err, out), os.Remove(string(v)))
	}
	return nil
}

// unmount removes the volume, whose content is lost.
func (v volume) unmount() error {
	if out, err := exec.Command("umount", string(v)).CombinedOutput(); err != nil { // #nosec G204 -- our own directory
		return fmt.Errorf("unmounting %s: %w %s", v, err, out)
	}
	return os.Remove(string(v))
}

// canMount reports whether a volume can be made in dir.
func canMount(dir string) error {
	v := volume(filepath.Join(dir, "volume"))
	if err := v.mount(1 << 20); err != nil {
		return err
	}
	return v.unmount()
}

func (v volume) ballast() string { return filepath.Join(string(v), "ballast") }

// fillUp takes all space that is left.
func (v volume) fillUp() error {
	f, err := os.OpenFile(v.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	block := make([]byte, 256<<10)
	for err == nil {
		_, err = f.Write(block) // what is left if it is less
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// empty gives back what fillUp took, if anything.
func (v volume) empty() error { return os.RemoveAll(v.ballast()) }

// copyDatabase copies a data file that no process has open, and its write-ahead
// log if there is one: these are what a backup by copy consists of.
func copyDatabase(from, to string) error {
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(from + suffix)
		if suffix != "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(to+suffix, data, 0o600)
		}
		if err != nil {
			return fmt.Errorf("backup by copy: %w", err)
		}
	}
	return nil
}

// moveDatabase copies a database and removes the original.
func moveDatabase(from, to string) error {
	err := copyDatabase(from, to)
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		if err == nil {
			err = os.RemoveAll(from + suffix)
		}
	}
	return err
}

// checkDatabase has SQLite check every page of a data file that no process has
// open.
func checkDatabase(name string) error {
	conn, err := sqlite.OpenConn(name, sqlite.OpenReadWrite)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	check, err := conn.Prepare("PRAGMA integrity_check")
	if err != nil {
		return err
	}
	text, err := sqlitex.ResultText(check)
	if err == nil && text != "ok" {
		err = fmt.Errorf("integrity check: %s", text)
	}
	return err
}
