package campaign

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pay-theory/streamer/e2e/chaos/judge"
	"github.com/pay-theory/streamer/e2e/chaos/plan"
	"github.com/pay-theory/streamer/e2e/chaos/role"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	role.Play()
	goleak.VerifyTestMain(m)
}

// options are those of a small campaign that needs no part that a machine may
// lack. All kinds of worlds are in TestKill of package e2e.
func options(t *testing.T, kills int, points ...plan.Point) *Options {
	t.Helper()
	p, err := plan.New(plan.Options{Seed: 3, Kills: kills, Points: points, Without: []plan.Part{plan.Trace, plan.Mount}})
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	return &Options{Plan: p, Program: self, Dir: t.TempDir()}
}

func TestNothingIsLeftOfWhatWentWell(t *testing.T) {
	o := options(t, 3, plan.AcceptAfter, plan.FinishBefore, plan.Backup)
	for i := range o.Plan.Worlds { // the clocks of these need no stepping
		if o.Plan.Worlds[i].Kind == plan.Clock {
			o.Plan.Worlds[i].Kind = plan.Plain
			for j := range o.Plan.Worlds[i].Rounds {
				o.Plan.Worlds[i].Rounds[j].Acts = nil
			}
		}
	}
	told := 0
	o.Killed = func(kills int) { told = kills }
	v, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.Empty(t, v.Findings)
	require.Equal(t, 3, v.KillCount())
	require.Equal(t, 3, told)
	require.Positive(t, v.Acknowledged)
	require.Equal(t, v.Asked, v.Ended, "all calls come to their end")
	require.False(t, v.Stopped)
	left, err := os.ReadDir(o.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
	require.Contains(t, v.String(), "0 lost, 0 doubled, 0 gaps, 0 overlaps")
}

// A campaign that is stopped judges what it has done.
func TestStoppedInGoodOrder(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	o := options(t, 90, plan.HeardAck)
	o.Killed = func(int) { stop() }
	v, err := Run(ctx, o)
	require.NoError(t, err)
	require.Empty(t, v.Findings)
	require.True(t, v.Stopped)
	require.Less(t, v.KillCount(), 90)
	require.Positive(t, v.Acknowledged)
}

// A server that does not come up is a finding, whose evidence is kept.
func TestServerThatCannotStart(t *testing.T) {
	broken, err := exec.LookPath("false")
	require.NoError(t, err)
	o := options(t, 2, plan.HeardAck)
	o.Server = broken
	v, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.NotEmpty(t, v.Findings)
	require.Equal(t, judge.Crash, v.Findings[0].Rule)
	require.Equal(t, []int{1}, v.Failed)
	for _, name := range []string{"findings.txt", "plan.json", "told.json", "stored.json", "log"} {
		require.FileExists(t, filepath.Join(v.Kept[0], name))
	}
}

// What cannot be carried out says nothing about the server.
func TestProgramThatIsNotThere(t *testing.T) {
	o := options(t, 2, plan.HeardAck)
	o.Program = filepath.Join(o.Dir, "nothing")
	_, err := Run(t.Context(), o)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A file that is not sound is told from one that is.
func TestDamagedFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, make([]byte, 8192), 0o600))
	require.Error(t, checkFile(name))
	require.NoError(t, os.Truncate(name, 0))
	require.NoError(t, checkFile(name), "an empty file is an empty database")
}
