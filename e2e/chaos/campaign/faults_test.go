package campaign

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// syncer is the environment variable that makes this binary write and sync a
// file of that name, again and again.
const syncer = "STREAMER_CHAOS_SYNCER"

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

// runSyncer runs the syncer under a command.
func runSyncer(t *testing.T, command []string) (*os.ProcessState, time.Duration) {
	t.Helper()
	if err := canTrace(t.Context()); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v; `make tools` installs it", err)
		}
		t.Skipf("SKIPPED: system calls cannot be made to fail here: %v; `make tools` installs strace", err)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(command[0], append(command[1:], self)...)
	cmd.Env = append(os.Environ(), syncer+"="+filepath.Join(t.TempDir(), "file"))
	began := time.Now()
	_ = cmd.Run() // the state tells
	return cmd.ProcessState, time.Since(began)
}

func TestKillAtSync(t *testing.T) {
	state, _ := runSyncer(t, killAtSync(1))
	status, ok := state.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.True(t, status.Signaled(), "%v", state)
	require.Equal(t, syscall.SIGKILL, status.Signal())
}

func TestSlowDisk(t *testing.T) {
	state, took := runSyncer(t, slowDisk(5*time.Millisecond))
	require.True(t, state.Success(), "%v", state)
	require.Greater(t, took, 300*time.Millisecond, "of eighty syncs")
}

func TestBrokenDisk(t *testing.T) {
	state, _ := runSyncer(t, brokenDisk())
	require.Positive(t, state.ExitCode(), "some syncs fail: %v", state)
	require.Less(t, state.ExitCode(), 40, "most do not: %v", state)
}

func TestVolumeFillsAndEmpties(t *testing.T) {
	dir := t.TempDir()
	if err := canMount(dir); err != nil {
		t.Skipf("SKIPPED: no disk can be filled here: %v; root may", err)
	}
	v := volume(filepath.Join(dir, "small"))
	require.NoError(t, v.mount(1<<20))
	name := filepath.Join(string(v), "file")
	require.NoError(t, os.WriteFile(name, []byte("there is space"), 0o600))
	require.NoError(t, v.fillUp())
	more := bytes.Repeat([]byte("x"), 8<<10)
	require.ErrorIs(t, os.WriteFile(name, more, 0o600), syscall.ENOSPC)
	require.NoError(t, v.fillUp(), "it may be full already")
	require.NoError(t, v.empty())
	require.NoError(t, v.empty(), "it may be empty already")
	require.NoError(t, os.WriteFile(name, more, 0o600))
	require.NoError(t, v.unmount())
	require.NoDirExists(t, string(v))
}

func TestDatabaseMoves(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	for suffix, text := range map[string]string{"": "file", "-wal": "log", "-shm": "memory", ".lock": "1"} {
		require.NoError(t, os.WriteFile(from+suffix, []byte(text), 0o600))
	}
	require.NoError(t, moveDatabase(from, to))
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Equal(t, []string{to, to + "-wal"}, left)
	log, err := os.ReadFile(to + "-wal")
	require.NoError(t, err)
	require.Equal(t, "log", string(log))

	require.ErrorIs(t, copyDatabase(from, to), os.ErrNotExist)
	require.NoError(t, os.Remove(to+"-wal"))
	require.NoError(t, copyDatabase(to, from), "a file without a log is whole")
}

// A damaged file is distinguished from one that is not.
func TestDamagedFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, make([]byte, 8192), 0o600))
	require.Error(t, checkDatabase(name))
	require.NoError(t, os.Truncate(name, 0))
	require.NoError(t, checkDatabase(name), "an empty file is an empty database")
}

// A program that is built so sees its wall clock step while it runs, both ways,
// and its monotonic time go on undisturbed.
func TestClockSteps(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles package time again")
	}
	dir := t.TempDir()
	program, err := buildClocked(t.Context(), dir, "./testdata/now")
	require.NoError(t, err)
	clock := filepath.Join(dir, "offset")
	require.NoError(t, setClock(clock, 0))

	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), clockVariable+"="+clock)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for _, hours := range []int{0, 5, -5, 0} {
		require.NoError(t, setClock(clock, hours))
		before := time.Now().Unix()
		_, err := fmt.Fprintln(in)
		require.NoError(t, err)
		require.True(t, lines.Scan())
		var wall int64
		var monotonic int
		_, err = fmt.Sscan(lines.Text(), &wall, &monotonic)
		require.NoError(t, err)
		wall -= int64(hours) * 3600
		require.GreaterOrEqual(t, wall, before)
		require.LessOrEqual(t, wall, time.Now().Unix())
		require.Less(t, monotonic, 3600, "it has not jumped")
	}
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
}

// When package time changes, this must be looked at again, and not do nothing.
func TestUnknownTimeIsRefused(t *testing.T) {
	_, err := patchNow("package time\n\nfunc Now() Time { return other() }\n")
	require.ErrorContains(t, err, "does not look")
	changed, err := patchNow("func Now() Time {\n" + nowBefore + "}\n")
	require.NoError(t, err)
	require.Contains(t, changed, "chaosOffset()")
}
