package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
	"github.com/stretchr/testify/require"
)

var syncCall = regexp.MustCompile(`(?m)\b(fdatasync|fsync)\b.*= 0$`)

// SIGKILL does not prove that anything reached the disk: the kernel lives on.
// So the kernel is asked: between a request and its ack, and between an ack
// and the end, the process has it sync.
func TestInvariant01AckFollowsSync(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("strace is missing; `make tools` installs it")
		}
		t.Skip("SKIPPED: strace is missing, which shows whether an ack waits for the disk; install it, or run `make tools`")
	}
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	address := startServer(t, filepath.Join(dir, "streamer.db"), strace, "-f", "-q", "-e", "trace=fdatasync,fsync", "-o", trace)
	syncs := func() int {
		data, err := os.ReadFile(trace)
		require.NoError(t, err)
		return len(syncCall.FindAll(data, -1))
	}
	p, err := openSocket(address, serverproc.Token)
	require.NoError(t, err)
	defer func() { _ = p.Close() }()
	await := func(messageType string) {
		for received := ""; received != messageType; {
			m, err := p.next()
			require.NoError(t, err)
			require.NotEqual(t, "error", m.Type, m.raw)
			received = m.Type
		}
	}
	for range 5 {
		before := syncs()
		require.NoError(t, p.writeText(
			`{"type":"request","id":"%s","action":"job","payload":{"chunks":1,"chunkMicros":300000,"pad":0,"checkpointEvery":0,"failAt":-1,"continueAt":0,"salt":0}}`,
			client.NewID()))
		await("ack")
		acked := syncs()
		require.Greater(t, acked, before, "an ack was sent before anything was synced")
		await("result")
		require.Greater(t, syncs(), acked, "an end was sent before it was synced")
	}
}

// startServer starts a server of e2e/chaos under a command, and returns its
// address when it accepts connections. It is killed at the test's end.
func startServer(t *testing.T, data string, under ...string) (address string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p, err := serverproc.Start(append(under, self), &serverproc.Settings{Run: 1, Data: data}, os.Stderr)
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
