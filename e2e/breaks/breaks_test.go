package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every break can still be made, no law is without one, and the page that
// lists them is what the list says.
func TestBreaksFit(t *testing.T) {
	root, err := moduleRoot()
	require.NoError(t, err)
	laws, names := map[string]bool{}, map[string]bool{}
	for _, b := range all() {
		changed, err := b.broken(root)
		require.NoError(t, err, b.What)
		text, err := os.ReadFile(root + "/" + b.File)
		require.NoError(t, err)
		require.NotEqual(t, string(text), string(changed), b.What)
		require.False(t, names[b.What], "two breaks are called %q", b.What)
		_, err = regexp.Compile(b.Run)
		require.NoError(t, err)
		laws[b.Law], names[b.What] = true, true
	}
	for n := 1; n <= 14; n++ {
		require.True(t, laws[fmt.Sprintf("L%02d", n)], "law %d is never broken", n)
	}
	for _, section := range []string{"§2", "§3", "§4", "§5", "§6", "§7", "§8", "§10", "§11", "§12"} {
		require.True(t, laws[section], "%s is never broken", section)
	}
	page, err := os.ReadFile(root + "/docs/decisions/0007-laws-broken-by-hand.md")
	require.NoError(t, err)
	require.True(t, strings.Contains(string(page), table(all())), "put in what `go run ./e2e/breaks -list` prints")
}

// Only a test that failed has noticed anything.
func TestJudge(t *testing.T) {
	failed := errors.New("exit status 1")
	for out, want := range map[string]bool{
		"--- FAIL: TestX (0.00s)\nFAIL":                     true,
		"panic: test timed out":                             true,
		"# x\nx.go:1: syntax error\nFAIL\tx [build failed]": false,
		"go: no such package":                               false,
	} {
		noticed, why := judge(t.Context(), []byte(out), failed)
		require.Equal(t, want, noticed, out)
		require.Equal(t, want, why == "", out)
	}
	for _, out := range []string{"ok  \tx\t0.01s", "ok  \tx\t0.01s [no tests to run]"} {
		noticed, why := judge(t.Context(), []byte(out), nil)
		require.False(t, noticed)
		require.NotEmpty(t, why)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	noticed, _ := judge(ended, []byte("--- FAIL"), failed)
	require.False(t, noticed, "what was killed has not noticed anything")
}
