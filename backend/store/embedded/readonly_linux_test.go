package embedded

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asNobody runs f on a thread without root's access to files. The thread ends
// with it.
func asNobody(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // never unlocked
			_, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
			_ = errno // the call returns the previous id, never an error
		}
		f()
	}()
	<-done
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	path := filepath.Join(dir, "streamer.db")
	refused := func(what string) {
		asNobody(func() {
			_, err := Open(path, nil)
			assert.ErrorIs(t, err, ErrReadOnly, what)
		})
	}
	require.NoError(t, os.Chmod(dir, 0o555))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
	refused("a directory that cannot be written, without a file")

	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, openAt(t, path, nil).Close())
	require.NoError(t, os.Chmod(path, 0o444))
	require.NoError(t, os.Chmod(dir, 0o555))
	refused("a directory that cannot be written, with a file")

	require.NoError(t, os.Chmod(dir, 0o777))
	require.NoError(t, os.Remove(path+".lock"))
	refused("a file that cannot be written")

	require.NoError(t, os.Chmod(path, 0o000))
	refused("a file that cannot be read")
}
