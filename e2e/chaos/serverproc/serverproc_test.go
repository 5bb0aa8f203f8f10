package serverproc

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/pay-theory/streamer/backend/streamertest"
	"github.com/pay-theory/streamer/client-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	RunChild()
	goleak.VerifyTestMain(m)
}

// start starts a server, waits until it accepts connections, and returns it with
// its address.
func start(t *testing.T, s *Settings) (p *Process, address string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p, err = Start([]string{self}, s, os.Stderr)
	require.NoError(t, err)
	t.Cleanup(p.Stop)
	address, up := <-p.Address
	require.True(t, up, "%v", p.Cmd.ProcessState)
	return p, address
}

// request sends a call and returns its id.
func request(t *testing.T, address string) string {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"streamer.v1"}}
	ws, response, err := d.Dial("ws://"+address, http.Header{"Authorization": {"Bearer " + Token}})
	require.NoError(t, err)
	_ = response.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	id := client.NewID()
	require.NoError(t, ws.WriteJSON(map[string]any{"type": "request", "id": id, "action": Stored, "payload": Params{FailAt: -1}}))
	return id
}

// A server is killed at the chosen point: before a call is stored, or when it is,
// and nobody was notified.
func TestKilledAtItsPoint(t *testing.T) {
	for point, found := range map[Point]error{"accept.before": store.ErrNotFound, "accept.after": nil} {
		s := &Settings{Run: 1, Data: filepath.Join(t.TempDir(), "streamer.db"), Kill: Kill{Point: point, Nth: 1}}
		p, address := start(t, s)
		id := request(t, address)
		<-p.Done
		require.True(t, p.Killed(), "%s: %v", point, p.Cmd.ProcessState)
		require.Empty(t, p.Entries, "it was not run")

		kept, err := embedded.Open(s.Data, nil)
		require.NoError(t, err)
		_, _, err = kept.Read(t.Context(), store.Key{Tenant: Tenant, ID: id}, 0, 0)
		require.ErrorIs(t, err, found, "%s", point)
		require.NoError(t, kept.Close())
	}
}

// What handlers have done is known of a server that was killed, too.
func TestEntriesSurviveTheProcess(t *testing.T) {
	p, address := start(t, &Settings{Run: 7, Data: filepath.Join(t.TempDir(), "streamer.db"), Kill: Kill{Point: "finish.before", Nth: 1}})
	before := Now()
	id := request(t, address)
	<-p.Done
	require.True(t, p.Killed())
	require.Len(t, p.Entries, 2)
	for i, e := range p.Entries {
		require.GreaterOrEqual(t, e.At, before)
		require.Equal(t, Entry{At: e.At, Run: 7, ID: id, Action: Stored, Attempt: 1, Returned: i == 1}, e)
	}
}

func TestShutsDown(t *testing.T) {
	p, _ := start(t, &Settings{Run: 1, Data: filepath.Join(t.TempDir(), "streamer.db"), Expire: time.Millisecond})
	require.NoError(t, p.Cmd.Process.Signal(syscall.SIGTERM))
	<-p.Done
	require.True(t, p.Cmd.ProcessState.Success(), "%v", p.Cmd.ProcessState)
}

// A server whose settings cannot be read says so and fails, and one whose parent
// is gone kills itself.
func TestUnusableChildren(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	child := func(settings string) *exec.Cmd {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), variable+"="+settings)
		return cmd
	}
	cmd := child("no settings")
	_, err = cmd.StdinPipe() // it has a parent
	require.NoError(t, err)
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	require.Contains(t, string(out), "server: ")

	orphan := child(fmt.Sprintf(`{"Run":1,"Data":%q}`, filepath.Join(t.TempDir(), "streamer.db")))
	require.Error(t, orphan.Run())
	p := &Process{Cmd: orphan}
	require.True(t, p.Killed())
}

// A trigger kills at the nth time of its own point; the process is gone then, so
// here only the times before are seen.
func TestTriggerWaits(t *testing.T) {
	tr := &trigger{Settings: &Settings{Kill: Kill{Point: "claim.after", Nth: 3}}}
	tr.reach("claim.before")
	hooks := tr.hooks()
	require.NoError(t, hooks.Before(faultstore.Claim, store.Key{}))
	require.NoError(t, hooks.After(faultstore.Claim, store.Key{}, nil))
	tr.reach("claim.after")
	require.Equal(t, int64(2), tr.times.Load())
}

// Whatever its parameters, an undisturbed job emits each chunk once, in order,
// and returns its result.
func TestUndisturbedJobs(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		p := Params{
			Chunks: rapid.IntRange(0, 12).Draw(r, "chunks"), CheckpointEvery: rapid.IntRange(0, 4).Draw(r, "every"), FailAt: -1,
			Pad: rapid.IntRange(0, 9).Draw(r, "pad"), Salt: rapid.Int64().Draw(r, "salt"),
		}
		var entries []Entry
		w := worker{7, func(e Entry) { entries = append(entries, e) }}
		got := streamertest.RunStream(t, w.handle, p)
		require.NoError(r, got.Err)
		require.Len(r, entries, 2)
		require.False(r, entries[0].Returned)
		require.True(r, entries[1].Returned && !entries[1].Failed)
		require.Equal(r, Result{p.Chunks, p.Salt}, got.Result)
		require.Len(r, got.Chunks, p.Chunks)
		for i, c := range got.Chunks {
			require.Equal(r, i, c.I)
			require.Equal(r, 7, c.Run)
			require.Len(r, c.Pad, p.Pad)
		}
	})
}
