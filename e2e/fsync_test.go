package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// freeAddress returns a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

var syncCall = regexp.MustCompile(`(?m)\b(fdatasync|fsync)\b.*= 0$`)

// SIGKILL does not prove that anything reached the disk: the kernel lives on.
// So the kernel is asked: between a request and its ack, and between an ack
// and the end, the process has it sync.
func TestLaw01AckFollowsSync(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("strace is missing; `make tools` installs it")
		}
		t.Skip("SKIPPED: strace is missing, so that nobody looks whether an ack waits for the disk; install it, or run `make tools`")
	}
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	o := victimSettings{Data: filepath.Join(dir, "streamer.db"), Address: freeAddress(t), Journal: filepath.Join(dir, "journal")}
	startVictim(t, o, strace, "-f", "-q", "-e", "trace=fdatasync,fsync", "-o", trace)
	syncs := func() int {
		data, err := os.ReadFile(trace)
		require.NoError(t, err)
		return len(syncCall.FindAll(data, -1))
	}
	ws := dialRaw(t, o.Address)
	for i := range 5 {
		before := syncs()
		id := newID(time.Now(), i)
		require.NoError(t, ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil,
			`{"type":"request","id":"%s","action":"job","payload":{"chunks":1,"paceMicros":300000,"checkpointEvery":0,"failAt":-1}}`, id)))
		awaitType(t, ws, "ack")
		acked := syncs()
		require.Greater(t, acked, before, "an ack was sent before anything was synced")
		awaitType(t, ws, "result")
		require.Greater(t, syncs(), acked, "an end was told before it was synced")
	}
}

func dialRaw(t *testing.T, address string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"streamer.v1"}}
	var ws *websocket.Conn
	require.Eventually(t, func() bool {
		conn, response, err := d.Dial("ws://"+address, http.Header{"Authorization": {"Bearer " + token(t, "acme", "ann")}})
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		ws = conn
		return true
	}, 20*time.Second, 10*time.Millisecond)
	t.Cleanup(func() { _ = ws.Close() })
	return ws
}

// newID returns a UUIDv7 made by hand.
func newID(at time.Time, n int) string {
	ms := at.UnixMilli()
	return fmt.Sprintf("%08x-%04x-7000-8000-%012x", ms>>16, ms&0xffff, n)
}

// awaitType reads until a message of the type has come.
func awaitType(t *testing.T, ws *websocket.Conn, typ string) {
	t.Helper()
	for {
		require.NoError(t, ws.SetReadDeadline(time.Now().Add(20*time.Second)))
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
