package e2e

import (
	"os"
	"testing"

	"github.com/pay-theory/streamer/e2e/chaos/campaign"
	"github.com/pay-theory/streamer/e2e/chaos/faults"
	"github.com/pay-theory/streamer/e2e/chaos/plan"
	"github.com/stretchr/testify/require"
)

// kills is how often a server is killed in TestKill: once at each point, and at
// some more often. `make chaos` kills 1,000.
const kills = 40

// killSeed makes the plan of TestKill, so that each run has the same one. Other
// plans are for `make chaos`, whose seed is random.
const killSeed = 1

// A real server is killed with SIGKILL, at each of the points of e2e/chaos, and
// started again, while a real client makes calls, whose connections are cut
// and which is killed, too; disks are slow, broken and full, the clock is
// stepped. Afterwards everything that was acknowledged has come to exactly one
// end: judged from outside.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	// A race in a server ends it, and a server that ends by itself is found.
	t.Setenv("GORACE", "halt_on_error=1")
	o := campaign.Options{Dir: t.TempDir(), Parallel: 2}
	options := plan.Options{Seed: killSeed, Kills: kills, Without: missing(t, o.Dir)}
	var err error
	o.Plan, err = plan.New(options)
	require.NoError(t, err)
	o.Program, err = os.Executable()
	require.NoError(t, err)
	o.Clocked, err = faults.BuildClocked(t.Context(), o.Dir, "./chaos", "")
	require.NoError(t, err)

	v, err := campaign.Run(t.Context(), &o)
	require.NoError(t, err)
	for _, f := range v.Findings {
		t.Error(f)
	}
	t.Logf("seed %d: %s", options.Seed, &v)
	if t.Failed() {
		t.Fatalf("to see it again, and keep the evidence: go run ./e2e/chaos -seed %d -kills %d", options.Seed, kills)
	}
	require.Equal(t, kills, v.KillCount())
	require.NotZero(t, v.Cuts)
	require.Greater(t, v.Acknowledged, kills)
	require.Greater(t, v.Void, 0, "some were killed in the midst of their work")
}

// missing returns what this machine lacks. Where CI is set, what `make tools`
// installs must be there.
func missing(t *testing.T, dir string) (without []plan.Part) {
	t.Helper()
	if err := faults.CanTrace(t.Context()); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v; `make tools` installs it", err)
		}
		t.Logf("LEFT OUT: slow and broken disks, and kills at a sync: %v", err)
		without = append(without, plan.Trace)
	}
	if err := faults.CanMount(dir); err != nil {
		t.Logf("LEFT OUT: full disks: %v", err)
		without = append(without, plan.Mount)
	}
	return without
}
