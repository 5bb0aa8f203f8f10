package victim

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/e2e/chaos/plan"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(Variable); ok {
		if err := Serve(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// begin starts a victim and returns it with its address.
func begin(t *testing.T, s Settings) (cmd *exec.Cmd, address string) {
	t.Helper()
	variable, err := s.Environment()
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd = exec.Command(self)
	cmd.Env = append(os.Environ(), variable)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	address, ok := strings.CutPrefix(strings.TrimSpace(line), Ready)
	require.True(t, ok, "%q", line)
	return cmd, address
}

func settings(t *testing.T, p plan.Point) Settings {
	t.Helper()
	dir := t.TempDir()
	return Settings{Run: 1, Data: filepath.Join(dir, "streamer.db"), Journal: filepath.Join(dir, "journal"), Point: p, Nth: 1}
}

// request sends a call and returns its id.
func request(t *testing.T, address string) string {
	t.Helper()
	token, err := Token()
	require.NoError(t, err)
	d := websocket.Dialer{Subprotocols: []string{"streamer.v1"}, HandshakeTimeout: 20 * time.Second}
	ws, response, err := d.Dial("ws://"+address, http.Header{"Authorization": {"Bearer " + token}})
	require.NoError(t, err)
	_ = response.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	id := client.NewID()
	require.NoError(t, ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"request","id":"%s","action":"job","payload":
		{"chunks":0,"paceMicros":0,"pad":0,"checkpointEvery":0,"failAt":-1,"continueAt":0,"salt":0}}`, id)))
	return id
}

// A victim dies by SIGKILL where it is told to: before a call is stored, or
// when it is, and nobody was told.
func TestDiesAtItsPoint(t *testing.T) {
	for point, found := range map[plan.Point]error{plan.AcceptBefore: store.ErrNotFound, plan.AcceptAfter: nil} {
		s := settings(t, point)
		cmd, address := begin(t, s)
		id := request(t, address)
		_ = cmd.Wait()
		status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		require.True(t, ok)
		require.Equal(t, syscall.SIGKILL, status.Signal(), "%s: %v", point, cmd.ProcessState)

		kept, err := embedded.Open(s.Data, nil)
		require.NoError(t, err)
		_, _, err = kept.Read(t.Context(), store.Key{Tenant: Tenant, ID: id}, 0, 0)
		require.ErrorIs(t, err, found, "%s", point)
		require.NoError(t, kept.Close())
	}
}

func TestEndsInGoodOrder(t *testing.T) {
	s := settings(t, "")
	s.Expire = time.Millisecond
	cmd, _ := begin(t, s)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
}

// A trigger goes off at the nth time of its own point; the process is gone
// then, so here only the times before are seen.
func TestTriggerWaits(t *testing.T) {
	tr := newTrigger(&Settings{Point: plan.ClaimAfter, Nth: 3})
	tr.at(plan.ClaimBefore)
	tr.at(plan.ClaimAfter)
	tr.at(plan.ClaimAfter)
	require.Equal(t, int64(1), tr.left.Load())
}
