package engine

import (
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/stretchr/testify/require"
)

// defectVariable names the environment variable that gives the engine under
// test a store with a defect.
const defectVariable = "STREAMER_STORE_DEFECT"

// withDefect returns the store as the engine under test gets it.
func withDefect(base faultstore.Roles) faultstore.Roles {
	name := os.Getenv(defectVariable)
	for _, d := range faultstore.Defects() {
		if d.Name == name {
			return d.Wrap(base)
		}
	}
	return base
}

// TestStoreDefects runs tests of invariants in a process of their own, where
// the store breaks a rule that the invariant needs: they fail.
func TestStoreDefects(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	for _, c := range []struct{ defect, test string }{
		{"Accept stores nothing", "TestInvariant01NothingAcknowledgedIsLost"},
		{"Accept returns a known id as a fresh one", "TestInvariant04SameIDSameCall"},
		{"Accept overlooks that a known id has another payload", "TestInvariant04SameIDSameCall"},
		{"Claim takes a request whose lease holds", "TestInvariant02TwoAttemptsNeverBothWrite"},
		{"Claim takes a request that has ended", "TestInvariant12QueuesCarryHints"},
		{"Claim does not count a crash", "TestInvariant07CrashesAreContained"},
		{"Record does not compare the fence", "TestInvariant02TwoAttemptsNeverBothWrite"},
		{"Record does not renew the lease", "TestInvariant02TwoAttemptsNeverBothWrite"},
		{"Record returns before it stored anything", "TestInvariant14PublishFollowsRecord"},
		{"Record does not recognise a repetition", "TestInvariant14PublishFollowsRecord"},
		{"Finish returns before it stored the end", "TestInvariant03OneEnd"},
		{"Finish loses the report that comes with the end", "TestInvariant08ProgressIsCheap"},
		{"Cancel ends the call of another subject", "TestInvariant06ThreeVerbs"},
		{"Cancel of an unknown id is not remembered", "TestPendingCancelMeetsInlineCall"},
		{"Cancel of a running call is not stored", "TestPromotionStoresTheCancel"},
		{"Watch returns before it stored anything", "TestInvariant06ThreeVerbs"},
		{"Read skips an event behind a position", "TestInvariant13PublishedBeforeRelease"},
		{"Due forgets requests that are due later", "TestInvariant12QueuesCarryHints"},
		{"Due forgets calls of workers that were lost", "TestInvariant01NothingAcknowledgedIsLost"},
		{"Due forgets calls that no connection follows", "TestCancelAfterOutlivesTheProcess"},
	} {
		t.Run(c.defect, func(t *testing.T) {
			require.True(t, slices.ContainsFunc(faultstore.Defects(), func(d faultstore.Defect) bool { return d.Name == c.defect }))
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+c.test+"$", "-test.timeout=5m")
			cmd.Env = append(os.Environ(), defectVariable+"="+c.defect)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "%s notices nothing", c.test)
			require.Contains(t, string(out), "--- FAIL: "+c.test)
		})
	}
}
