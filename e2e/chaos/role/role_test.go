package role

import (
	"os"
	"os/exec"
	"testing"

	"github.com/pay-theory/streamer/e2e/chaos/caller"
	"github.com/pay-theory/streamer/e2e/chaos/victim"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Play()
	goleak.VerifyTestMain(m)
}

// A process whose role cannot be played says so and fails, and plays no tests.
func TestRolesAreRefused(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	for variable, name := range map[string]string{victim.Variable: "victim: ", caller.Variable: "caller: "} {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), variable+"=no settings")
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		require.Equal(t, 1, cmd.ProcessState.ExitCode())
		require.Contains(t, string(out), name)
	}
}
