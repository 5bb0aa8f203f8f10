package faults

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// syncer is the environment variable that makes this binary write and sync a
// file of that name, again and again.
const syncer = "STREAMER_CHAOS_SYNCER"

func TestMain(m *testing.M) {
	if name := os.Getenv(syncer); name != "" {
		os.Exit(writeAndSync(name))
	}
	goleak.VerifyTestMain(m)
}

// writeAndSync returns how many of eighty rounds failed.
func writeAndSync(name string) (failed int) {
	f, err := os.Create(name)
	if err != nil {
		return 99
	}
	for range 80 {
		_, err := f.WriteAt([]byte("x"), 0)
		if errors.Join(err, f.Sync()) != nil {
			failed++
		}
	}
	return failed
}

// run runs the syncer under a trace.
func run(t *testing.T, trace Trace) (*os.ProcessState, time.Duration) {
	t.Helper()
	if err := CanTrace(t.Context()); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v; `make tools` installs it", err)
		}
		t.Skipf("SKIPPED: system calls cannot be made to fail here: %v; `make tools` installs strace", err)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(trace[0], append(trace[1:], self)...)
	cmd.Env = append(os.Environ(), syncer+"="+filepath.Join(t.TempDir(), "file"))
	began := time.Now()
	_ = cmd.Run() // the state tells
	return cmd.ProcessState, time.Since(began)
}

func TestKillAtSync(t *testing.T) {
	state, _ := run(t, KillAtSync(1))
	status, ok := state.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.True(t, status.Signaled(), "%v", state)
	require.Equal(t, syscall.SIGKILL, status.Signal())
}

func TestSlowDisk(t *testing.T) {
	state, took := run(t, SlowDisk(5*time.Millisecond))
	require.True(t, state.Success(), "%v", state)
	require.Greater(t, took, 300*time.Millisecond, "of eighty syncs")
}

func TestDiskBreaks(t *testing.T) {
	state, _ := run(t, BrokenDisk())
	require.Positive(t, state.ExitCode(), "some syncs fail: %v", state)
	require.Less(t, state.ExitCode(), 40, "most do not: %v", state)
}

func TestVolumeFillsAndEmpties(t *testing.T) {
	dir := t.TempDir()
	if err := CanMount(dir); err != nil {
		t.Skipf("SKIPPED: no disk can be filled here: %v; root may", err)
	}
	v, err := NewVolume(filepath.Join(dir, "small"), 1<<20)
	require.NoError(t, err)
	name := filepath.Join(v.Dir(), "file")
	require.NoError(t, os.WriteFile(name, []byte("there is room"), 0o600))
	require.NoError(t, v.Fill())
	more := bytes.Repeat([]byte("x"), 8<<10)
	require.ErrorIs(t, os.WriteFile(name, more, 0o600), syscall.ENOSPC)
	require.NoError(t, v.Fill(), "it may be full already")
	require.NoError(t, v.Empty())
	require.NoError(t, v.Empty(), "it may be empty already")
	require.NoError(t, os.WriteFile(name, more, 0o600))
	require.NoError(t, v.Close())
	require.NoDirExists(t, v.Dir())
}

func TestDatabaseMoves(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	for suffix, text := range map[string]string{"": "file", "-wal": "log", "-shm": "memory", ".lock": "1"} {
		require.NoError(t, os.WriteFile(from+suffix, []byte(text), 0o600))
	}
	require.NoError(t, MoveDatabase(from, to))
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Equal(t, []string{to, to + "-wal"}, left)
	log, err := os.ReadFile(to + "-wal")
	require.NoError(t, err)
	require.Equal(t, "log", string(log))

	require.ErrorIs(t, CopyDatabase(from, to), os.ErrNotExist)
	require.NoError(t, os.Remove(to+"-wal"))
	require.NoError(t, CopyDatabase(to, from), "a file without a log is whole")
	require.ErrorIs(t, CopyDatabase(to, from), os.ErrExist, "a backup overwrites nothing")
}
