package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/stretchr/testify/require"
)

// The programs that are played against, and by.
const (
	clientUnderTest = "github.com/pay-theory/streamer/e2e/clientundertest"
	streamerCommand = backend + "/cmd/streamer"
)

// build builds a program of this repository.
func build(t *testing.T, pkg string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "program")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, pkg).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// playProcess plays one transcript against a client in a process of its own.
func playProcess(t *testing.T, tr *conformance.Transcript, o *conformance.Options, end time.Duration, command ...string) error {
	t.Helper()
	target, err := conformance.StartClient(t.Context(), tr, &conformance.ClientOptions{Command: command, End: end})
	if err != nil {
		return err
	}
	return conformance.RunClient(t.Context(), tr, target, o)
}

// The clients' transcripts, played against the Go client in a process of its
// own, in the time that there is, as anybody's client is certified.
func TestClientProcess(t *testing.T) {
	command := build(t, clientUnderTest)
	all := clientTranscripts(t)
	known := knownFailures(t, "client-go", all)
	var mu sync.Mutex
	played := 0
	t.Run("transcripts", func(t *testing.T) {
		for _, tr := range all {
			t.Run(tr.Name, func(t *testing.T) {
				t.Parallel()
				target, err := conformance.StartClient(t.Context(), tr, &conformance.ClientOptions{Command: []string{command}})
				require.NoError(t, err)
				require.Equal(t, "client-go", target.Name())
				conformance.PlayClient(t, tr, target, known)
				mu.Lock()
				defer mu.Unlock()
				played++
			})
		}
	})
	require.GreaterOrEqual(t, played, len(all)/2, "most transcripts are played without moving the clock")
}

// A client that does something wrong fails, and the failure says what.
func TestWrongClientsAreFound(t *testing.T) {
	command := build(t, clientUnderTest)
	transcripts := map[string]*conformance.Transcript{}
	for _, tr := range clientTranscripts(t) {
		transcripts[tr.Name] = tr
	}
	for wrong, message := range map[string]string{
		"drops":    `event 1 of 2 for the reader of a: .data`,
		"doubles":  `event 2 of 2 for the reader of a: .data`,
		"reorders": `event 1 of 2 for the reader of a: .data`,
		"silent":   `event 1 of 2 for the reader of a: context deadline exceeded`,
		"crashes":  `this client was told to crash`,
		"chatters": `the client wrote a line that is no answer: got a chunk`,
		"lingers":  `the client did not end within`,
	} {
		t.Run(wrong, func(t *testing.T) {
			t.Parallel()
			// Two of them are found out by waiting for them.
			var o *conformance.Options
			if wrong == "silent" {
				o = &conformance.Options{MaxWait: 20 * time.Second}
			}
			end := time.Minute
			if wrong == "lingers" {
				end = 3 * time.Second
			}
			err := playProcess(t, transcripts["durable"], o, end, command, "-wrong", wrong)
			require.ErrorContains(t, err, message)
		})
	}
	for what, c := range map[string]struct {
		command []string
		message string
	}{
		"nothing":      {nil, "no command"},
		"not there":    {[]string{filepath.Join(t.TempDir(), "nobody")}, "cannot be started"},
		"no hello":     {[]string{"echo", "hi"}, `first line of the client must be {"hello": 1, …}, not hi`},
		"another time": {[]string{"echo", `{"hello": 2}`}, "speaks version 2"},
		"impossible":   {[]string{"echo", `{"hello": 1, "abilities": ["kill"]}`}, `not "kill"`},
		"gone at once": {[]string{"echo", `{"hello": 1}`}, "open"},
		"mute":         {[]string{"true"}, "has closed its standard output"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, playProcess(t, transcripts["durable"], nil, time.Minute, c.command...), c.message)
		})
	}
}

// A player that is interrupted does not wait for its client.
func TestClientProcessIsInterrupted(t *testing.T) {
	command := build(t, clientUnderTest)
	for _, tr := range clientTranscripts(t) {
		if tr.Name != "durable" {
			continue
		}
		ctx, cancel := context.WithCancel(t.Context())
		target, err := conformance.StartClient(ctx, tr, &conformance.ClientOptions{Command: []string{command}})
		require.NoError(t, err)
		cancel()
		require.ErrorContains(t, conformance.RunClient(ctx, tr, target, nil), "context canceled")
		return
	}
	t.Fatal("there is no transcript durable")
}
