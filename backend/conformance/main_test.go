package conformance

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// clientVariable makes the test binary a client under test; see
// client_program_test.go.
const clientVariable = "STREAMER_CONFORMANCE_CLIENT"

func TestMain(m *testing.M) {
	if how := os.Getenv(clientVariable); how != "" {
		if err := runTestClient(how); err != nil {
			fmt.Fprintln(os.Stderr, "test client:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
