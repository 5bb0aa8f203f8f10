package e2e

import (
	"testing"

	"github.com/pay-theory/streamer/e2e/chaos/campaign"
	"github.com/pay-theory/streamer/e2e/chaos/check"
	"github.com/stretchr/testify/require"
)

// What TestKill does: a server is killed once at each point, and at some more
// often. `make chaos` kills 1,000, with a random seed.
const (
	killSeed = 12042
	kills    = 40
)

// A real server is killed with SIGKILL, at each of the points of e2e/chaos, and
// started again, while real clients make calls, whose connections are cut and
// which are killed, too; disks are slow, broken and full, the clock jumps.
// Afterwards everything that was acknowledged has ended exactly once: checked
// from outside.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	// A race in a server ends it, and a server that ends by itself is found.
	t.Setenv("GORACE", "halt_on_error=1")
	c, err := campaign.New(t.Context(), t.TempDir(), campaign.PlanOptions{Seed: killSeed, Kills: kills})
	require.NoError(t, err)
	for _, text := range c.LeftOut {
		t.Log("LEFT OUT:", text)
	}
	r, err := c.Run(t.Context())
	require.NoError(t, err)
	for _, f := range r.Findings {
		t.Error(f)
	}
	t.Logf("seed %d: %s", killSeed, r)
	if t.Failed() {
		t.Fatalf("to see it again, and keep the evidence: go run ./e2e/chaos -seed %d -kills %d", killSeed, kills)
	}
	require.Equal(t, kills, r.Counts[campaign.Kills])
	require.NotZero(t, r.Counts[campaign.Cuts])
	require.Greater(t, r.Counts[check.Acknowledged], kills)
	require.Greater(t, r.Counts[check.Discarded], 0, "some were killed while they worked")
}
