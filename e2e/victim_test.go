package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/pay-theory/streamer/e2e/chaos/role"
	"github.com/pay-theory/streamer/e2e/chaos/victim"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The servers and clients that are killed are this test binary, started again.
func TestMain(m *testing.M) {
	role.Play()
	goleak.VerifyTestMain(m)
}

// startVictim starts a server under a command, and returns its address when it
// serves. The test's end kills it, and all that the command started.
func startVictim(t *testing.T, s victim.Settings, under ...string) (address string) {
	t.Helper()
	variable, err := s.Environment()
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	args := append(under, self)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), variable)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "the server did not come up")
	address, ok := strings.CutPrefix(strings.TrimSpace(line), victim.Ready)
	require.True(t, ok, "%q", line)
	return address
}
