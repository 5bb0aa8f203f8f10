package embedded_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/stretchr/testify/require"
)

// asNobody runs f on a thread without root's access to files. The thread ends
// with it.
func asNobody(t *testing.T, f func()) {
	t.Helper()
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
		t.Helper()
		asNobody(t, func() {
			_, err := embedded.Open(path, nil)
			if err == nil {
				t.Errorf("%s: opened", what)
				return
			}
			t.Log(err)
			if !errors.Is(err, embedded.ErrReadOnly) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	require.NoError(t, os.Chmod(dir, 0o555))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
	refused("a directory that cannot be written, without a file")

	require.NoError(t, os.Chmod(dir, 0o755))
	s, err := embedded.Open(path, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, os.Chmod(path, 0o444))
	require.NoError(t, os.Chmod(dir, 0o555))
	refused("a directory that cannot be written, with a file")

	require.NoError(t, os.Chmod(dir, 0o777))
	require.NoError(t, os.Remove(path+".lock"))
	refused("a file that cannot be written")

	require.NoError(t, os.Chmod(path, 0o000))
	refused("a file that cannot be read")
}
