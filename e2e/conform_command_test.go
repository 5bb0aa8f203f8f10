package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/stretchr/testify/require"
)

// verdict is the last line of `streamer conform --json`.
type verdict struct {
	Verdict *conformance.Verdict
	OK      bool
}

// conform runs `streamer conform` and returns its verdict, its other lines by
// transcript, and its exit code.
func conform(t *testing.T, command string, args ...string) (v verdict, outcomes map[string]string, exit int) {
	t.Helper()
	var out, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), command, append([]string{"conform", "--json"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	if wrong := (*exec.ExitError)(nil); err != nil && !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	require.Empty(t, stderr.String())
	outcomes = map[string]string{}
	for line := range strings.Lines(out.String()) {
		var entry struct {
			verdict
			Transcript, Outcome, Reason string
		}
		require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
		if entry.Verdict != nil {
			v = entry.verdict
			continue
		}
		outcomes[entry.Transcript] = entry.Outcome
		if entry.Outcome == string(conformance.Failed) {
			t.Logf("%s: %s", entry.Transcript, entry.Reason)
		}
	}
	require.NotNil(t, v.Verdict, "the last line is the verdict")
	return v, outcomes, cmd.ProcessState.ExitCode()
}

// knownFile writes one target's known failures as the command reads them.
func knownFile(t *testing.T, target string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "known.json")
	require.NoError(t, os.WriteFile(path, knownFailures(t, target), 0o600))
	return path
}

// What the README promises: the demo is a server that conforms.
func TestTheDemoConforms(t *testing.T) {
	command, dir := build(t, streamerCommand), t.TempDir()
	demo, url := startProcess(t, `(ws://\S+)\n(?s:.*)Ctrl-C`,
		exec.Command(command, "demo", "--port", "0", "--admin-port", "0", "--quiet", "--dir", dir))
	v, outcomes, exit := conform(t, command, "--url", url, "--dir", dir, "-p", "16", "--known-failures", knownFile(t, "embedded"))
	require.Equal(t, 0, exit)
	require.True(t, v.OK)
	require.Zero(t, v.Verdict.Failed)
	require.GreaterOrEqual(t, v.Verdict.Passed, 60)
	require.Equal(t, len(outcomes), v.Verdict.Passed+v.Verdict.NotPlayed+v.Verdict.Known)
	require.Equal(t, "notPlayed", outcomes["killed-running"])
	require.Equal(t, "passed", outcomes["durable-call"])
	require.NoError(t, demo.Process.Signal(os.Interrupt))
	demo.requireEnd(t)
}

// The command certifies the Go client, and finds out a wrong one.
func TestTheCommandCertifiesClients(t *testing.T) {
	command, client := build(t, streamerCommand), build(t, clientUnderTest)
	v, outcomes, exit := conform(t, command, "--client", "'"+client+"'", "--known-failures", knownFile(t, "client-go"), "--run", "^(cut|durable|gap|idempotency.*|make-before-break|void.*)$")
	require.Equal(t, 0, exit)
	require.True(t, v.OK)
	require.Equal(t, conformance.Verdict{Passed: 9, NotPlayed: 1}, *v.Verdict)
	require.Equal(t, "notPlayed", outcomes["make-before-break"])
	for _, wrong := range []string{"drops", "doubles"} {
		v, outcomes, exit = conform(t, command, "--client", "'"+client+"' -wrong "+wrong, "--run", "^(durable|inline)$")
		require.Equal(t, 1, exit)
		require.Equal(t, conformance.Verdict{Passed: 1, Failed: 1}, *v.Verdict)
		require.Equal(t, "failed", outcomes["durable"])
	}
}
