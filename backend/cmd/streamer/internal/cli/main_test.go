package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

// binary is the program, built once from package main.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "streamer-test-")
	if err == nil {
		binary = filepath.Join(dir, "streamer")
		if runtime.GOOS == "windows" {
			binary += ".exe"
		}
		var out []byte
		if out, err = exec.Command("go", "build", "-o", binary, "../..").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the program cannot be built:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}
