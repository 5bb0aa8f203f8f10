package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/gorilla/websocket"
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
	s := &serverproc.Settings{Run: 1, Data: filepath.Join(dir, "streamer.db")}
	address := startServer(t, s, strace, "-f", "-q", "-e", "trace=fdatasync,fsync", "-o", trace)
	syncs := func() int {
		data, err := os.ReadFile(trace)
		require.NoError(t, err)
		return len(syncCall.FindAll(data, -1))
	}
	ws := dialRaw(t, address)
	for range 5 {
		before := syncs()
		require.NoError(t, ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil,
			`{"type":"request","id":"%s","action":"job","payload":{"chunks":1,"chunkMicros":300000,"pad":0,"checkpointEvery":0,"failAt":-1,"continueAt":0,"salt":0}}`,
			client.NewID())))
		awaitType(t, ws, "ack")
		acked := syncs()
		require.Greater(t, acked, before, "an ack was sent before anything was synced")
		awaitType(t, ws, "result")
		require.Greater(t, syncs(), acked, "an end was sent before it was synced")
	}
}

func dialRaw(t *testing.T, address string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"streamer.v1"}, HandshakeTimeout: 2 * time.Minute}
	ws, response, err := d.Dial("ws://"+address, http.Header{"Authorization": {"Bearer " + serverproc.Token}})
	require.NoError(t, err)
	_ = response.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	return ws
}

// awaitType reads until a message of the type has come.
func awaitType(t *testing.T, ws *websocket.Conn, typ string) {
	t.Helper()
	for {
		require.NoError(t, ws.SetReadDeadline(time.Now().Add(2*time.Minute)))
		_, data, err := ws.ReadMessage()
		require.NoError(t, err)
		if data[0] != '[' {
			data = append(append([]byte{'['}, data...), ']')
		}
		var messages []struct{ Type, Code, Message string }
		require.NoError(t, json.NewDecoder(bytes.NewReader(data)).Decode(&messages))
		for _, m := range messages {
			require.NotEqual(t, "error", m.Type, "%s: %s", m.Code, m.Message)
			if m.Type == typ {
				return
			}
		}
	}
}
