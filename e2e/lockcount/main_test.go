package main

import (
	"fmt"
	"testing"

	// Makes go test run again after a change in the backend.
	_ "github.com/pay-theory/streamer/backend/server"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// maxLocks is how many locks a durable call may acquire.
const maxLocks = 20

func TestLocksOfADurableCall(t *testing.T) {
	report, err := count("../..", 300)
	if err != nil {
		t.Fatal(err)
	}
	var locks float64
	if _, err := fmt.Sscanf(report, "%f lock acquisitions", &locks); err != nil {
		t.Fatal(err, report)
	}
	// What runs by the clock, as sweeps and checkpoints do, adds hundredths.
	if locks < 1 || locks > maxLocks+0.5 {
		t.Errorf("at most %d allowed: %s", maxLocks, report)
	}
}
