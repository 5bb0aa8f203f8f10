package campaign

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pay-theory/streamer/e2e/chaos/check"
	"github.com/pay-theory/streamer/e2e/chaos/recorder"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	serverproc.RunChild()
	if name := os.Getenv(syncer); name != "" {
		os.Exit(writeAndSync(name))
	}
	goleak.VerifyTestMain(m)
}

// newCampaign returns a small campaign that needs nothing that a machine may
// lack. All kinds of worlds are in TestKill of package e2e.
func newCampaign(t *testing.T, kills int, points ...serverproc.Point) *Campaign {
	t.Helper()
	p, err := NewPlan(&PlanOptions{Seed: 3, Kills: kills, Points: points, NoTrace: true, NoMount: true})
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	return &Campaign{Plan: p, Killed: func(int) {}, dir: t.TempDir(), server: self}
}

// runWell requires that nothing is found.
func runWell(ctx context.Context, t *testing.T, c *Campaign) *Result {
	t.Helper()
	r, err := c.Run(ctx)
	require.NoError(t, err)
	require.Empty(t, r.Findings)
	require.Positive(t, r.Counts[check.Acknowledged])
	return r
}

func TestNothingIsLeftOfWhatWentWell(t *testing.T) {
	c := newCampaign(t, 3, "accept.after", "finish.before", serverproc.Backup)
	killed := 0
	c.Killed = func(kills int) { killed = kills }
	r := runWell(t.Context(), t, c)
	require.Equal(t, 3, r.Counts[Kills])
	require.Equal(t, 3, killed)
	require.Equal(t, 1, r.Counts[Backups])
	require.Equal(t, r.Counts[check.Calls], r.Counts[check.Ended], "all calls end")
	require.False(t, r.Stopped)
	left, err := os.ReadDir(c.dir)
	require.NoError(t, err)
	require.Empty(t, left)
	require.Contains(t, r.String(), "0 lost, 0 duplicate, 0 gap, 0 overlap")
}

// A campaign that is stopped checks what it has done.
func TestStoppedInGoodOrder(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	c := newCampaign(t, 90, "received.ack")
	c.Killed = func(int) { stop() }
	r := runWell(ctx, t, c)
	require.True(t, r.Stopped)
	require.Less(t, r.Counts[Kills], 90)
}

// A client that is killed is replaced, and its calls are seen through.
func TestClientIsKilled(t *testing.T) {
	c := newCampaign(t, 1, "finish.after")
	c.Plan[0].Rounds[0].Acts = []Act{{At: 1, Verb: killClient}, {At: 2, Verb: cutAll}}
	r := runWell(t.Context(), t, c)
	require.Equal(t, 1, r.Counts[Clients])
	require.Equal(t, r.Counts[check.Calls], r.Counts[check.Ended])
}

// The nth event of the point's type is lost with the server if the point is that it
// is sent, and arrives if it is that it is received.
func TestWatch(t *testing.T) {
	ended := make(chan struct{})
	close(ended)
	w := &world{server: &serverproc.Process{Done: ended}}
	for point, want := range map[serverproc.Point][]string{
		"sent.ack": {"ack 4"}, "sent.chunk": {"chunk 3"}, "sent.end": {"error 6"}, "received.end": nil,
	} {
		watch := w.watch(&Round{Kill: serverproc.Kill{Point: point, Nth: 2}})
		var lost []string
		for i, typ := range []string{"ack", "chunk", "chunk", "ack", "result", "error", "ack", "chunk", "error"} {
			e := &recorder.Event{Type: typ, Seq: uint64(i + 1)}
			if watch(e) {
				lost = append(lost, fmt.Sprint(e.Type, " ", e.Seq))
			}
		}
		require.Equal(t, want, lost, "%s", point)
	}
	require.Nil(t, w.watch(&Round{Kill: serverproc.Kill{Point: "accept.after", Nth: 2}}))
}

// A server that does not come up is a finding, whose evidence is kept.
func TestServerThatCannotStart(t *testing.T) {
	c := newCampaign(t, 2, "received.ack")
	broken, err := exec.LookPath("false")
	require.NoError(t, err)
	c.server = broken
	r, err := c.Run(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, r.Findings)
	require.Equal(t, check.Crash, r.Findings[0].Rule)
	require.Equal(t, []int{1}, r.Failed)
	for _, name := range []string{"findings.json", "plan.json", "calls.json", "handlers.json", "sent.json", "stored.json", "log"} {
		require.FileExists(t, filepath.Join(r.Kept[0], name))
	}
}

// What cannot be carried out says nothing about the server.
func TestProgramThatIsNotThere(t *testing.T) {
	c := newCampaign(t, 2, "received.ack")
	c.server = filepath.Join(c.dir, "nothing")
	_, err := c.Run(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
}
