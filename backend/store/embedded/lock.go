package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// errLocked is returned by tryLock if another owner holds the lock.
var errLocked = errors.New("locked")

// acquireLock locks the lock file beside the database, and writes our process id
// into it. The lock ends with the process, however it ends; the file stays.
func acquireLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: %w: no lock file can be made beside it: %w", path, ErrReadOnly, err)
	case err != nil:
		return nil, fmt.Errorf("%s: no lock file can be made beside it: %w", path, err)
	}
	if err := tryLock(f); err != nil {
		defer func() { _ = f.Close() }()
		if errors.Is(err, errLocked) {
			return nil, &LockedError{Path: path, PID: owner(f)}
		}
		return nil, fmt.Errorf("%s: cannot be locked: %w", path, err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: its lock file cannot be written: %w", path, err)
	}
	return f, nil
}

// owner reads the process id in a lock file; 0 if there is none.
func owner(f *os.File) int {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return pid
}
