package e2e

import (
	"os"
	"testing"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The servers that are killed are this test binary, started again.
func TestMain(m *testing.M) {
	serverproc.RunChild()
	goleak.VerifyTestMain(m)
}

// startServer starts a server under a command, and returns its address when it
// accepts connections. It is killed at the test's end.
func startServer(t *testing.T, s *serverproc.Settings, under ...string) (address string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p, err := serverproc.Start(append(under, self), s, os.Stderr)
	require.NoError(t, err)
	t.Cleanup(p.Stop)
	select {
	case address = <-p.Address:
	case <-p.Done:
		t.Fatalf("the server did not come up: %v", p.Cmd.ProcessState)
	case <-time.After(2 * time.Minute):
		t.Fatal("the server does not come up")
	}
	return address
}
