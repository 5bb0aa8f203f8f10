//go:build unix

package embedded

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes an flock(2). It belongs to the open file, so that the same process
// cannot lock it twice either.
func tryLock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errLocked
		default:
			return err
		}
	}
}
