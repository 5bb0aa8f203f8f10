package main

import (
	"fmt"
	"testing"

	// Makes go test run again after a change in the backend.
	_ "github.com/pay-theory/streamer/backend/server"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// maxLocks is how many locks a durable call may acquire.
const maxLocks = 20

func TestLocksOfADurableCall(t *testing.T) {
	report, err := count("../..", 300)
	require.NoError(t, err)
	var locks float64
	_, err = fmt.Sscanf(report, "%f lock acquisitions", &locks)
	require.NoError(t, err, report)
	// What runs by the clock, as sweeps and checkpoints do, adds hundredths.
	require.LessOrEqual(t, locks, maxLocks+0.5, report)
	require.GreaterOrEqual(t, locks, 1.0, report)
}
