package conformance

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// robotVariable makes the test binary a client under test; see robot_test.go.
const robotVariable = "STREAMER_CONFORMANCE_ROBOT"

func TestMain(m *testing.M) {
	if how := os.Getenv(robotVariable); how != "" {
		if err := beRobot(how); err != nil {
			fmt.Fprintln(os.Stderr, "robot:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
