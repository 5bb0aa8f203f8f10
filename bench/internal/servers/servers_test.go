package servers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// startAndWait is an argument that has this program start a PostgreSQL in a
// directory, write where it listens, and wait.
const startAndWait = "start-and-wait"

// TestMain is also the main of the servers that the tests start.
func TestMain(m *testing.M) {
	Main()
	if len(os.Args) > 2 && os.Args[1] == startAndWait {
		s, err := Start(context.Background(), Postgres, os.Args[2], Options{})
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println(s.Address)
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// dir returns a directory that other users may reach: PostgreSQL does not run as
// root.
func dir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "servers-test-") //nolint:usetesting // t.TempDir is closed to other users
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Every kind starts, and stops in good order.
func TestKinds(t *testing.T) {
	for _, kind := range []Kind{Streamer, Bare, Centrifuge, NATS, Postgres, Redis} {
		s, err := Start(t.Context(), kind, dir(t), Options{})
		if errors.Is(err, ErrMissing) {
			t.Logf("SKIPPED: %v", err)
			continue
		}
		require.NoError(t, err)
		if used := s.Usage(); used.Load == 0 && used.Server == 0 {
			t.Logf("%s: this system does not tell what processes use", kind)
		}
		assert.NoError(t, errors.Join(s.Stop(), s.Stop()), kind)
		assert.False(t, reaches(s.Address), "%s has not stopped", kind)
	}
	_, err := Start(t.Context(), Streamer, dir(t)+"/missing", Options{})
	assert.Error(t, err, "a server starts in a directory that is not there")
}

// A server that was killed can be started again at the same address, and
// deletes what has expired.
func TestKillAndExpire(t *testing.T) {
	dir := dir(t)
	s, err := Start(t.Context(), Streamer, dir, Options{Age: 10 * 24 * time.Hour})
	require.NoError(t, err)
	address := s.Address
	s.Kill()
	s, err = Start(t.Context(), Streamer, dir, Options{Address: address})
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.Stop()) }()
	assert.Equal(t, address, s.Address)
	deleted, err := s.Control(t.Context(), "/expire?for=1m")
	require.NoError(t, err)
	assert.Equal(t, "0", deleted)
}

// Programs end with the process that has started them, even if that is killed.
func TestProgramsEndWithTheirParent(t *testing.T) {
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("SKIPPED: this system cannot do that")
	}
	parent := exec.Command(os.Args[0], startAndWait, dir(t)) //nolint:gosec // it is this program
	in, err := parent.StdinPipe()
	require.NoError(t, err)
	defer func() { _ = in.Close() }()
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	line, _, err := bufio.NewReader(out).ReadLine()
	require.NoError(t, err)
	_ = parent.Process.Kill()
	_ = parent.Wait()
	if bytes.Contains(line, []byte(ErrMissing.Error())) {
		t.Skipf("SKIPPED: %s", line)
	}
	require.Eventually(t, func() bool { return !reaches(string(line)) }, time.Minute, time.Millisecond, "PostgreSQL outlives its parent")
}

func TestMissingPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := findProgram("no-server", "/no/server")
	assert.ErrorIs(t, err, ErrMissing)
}

func reaches(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
