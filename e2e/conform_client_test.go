package e2e

import (
	"context"
	"path/filepath"
	"slices"
	"sync/atomic"
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

// The clients' transcripts, played against the Go client in a process of its
// own, in the time that there is, as anybody's client is certified.
func TestClientProcess(t *testing.T) {
	command := build(t, clientUnderTest)
	all, known := clientTranscripts(t)
	var played atomic.Int64
	t.Run("transcripts", func(t *testing.T) {
		for _, tr := range all {
			t.Run(tr.Name, func(t *testing.T) {
				t.Parallel()
				target, err := conformance.StartClient(t.Context(), tr, &conformance.ClientOptions{Command: []string{command}})
				require.NoError(t, err)
				require.Equal(t, "client-go", target.Name())
				conformance.PlayClient(t, tr, target, known)
				played.Add(1)
			})
		}
	})
	require.GreaterOrEqual(t, int(played.Load()), len(all)/2, "most transcripts are played without moving the clock")
}

// durable is the transcript that wrong clients are found by.
func durable(t *testing.T) *conformance.Transcript {
	t.Helper()
	all, _ := clientTranscripts(t)
	i := slices.IndexFunc(all, func(tr *conformance.Transcript) bool { return tr.Name == "durable" })
	require.GreaterOrEqual(t, i, 0, "there is no transcript durable")
	return all[i]
}

// A client that does something wrong fails, and the failure says what.
func TestWrongClientsAreFound(t *testing.T) {
	right, tr := build(t, clientUnderTest), durable(t)
	for _, c := range []struct {
		name    string
		command []string
		message string
	}{
		{"drops", []string{right, "-wrong", "drops"}, `event 1 of 2 for the reader of a: .data`},
		{"doubles", []string{right, "-wrong", "doubles"}, `event 2 of 2 for the reader of a: .data`},
		{"reorders", []string{right, "-wrong", "reorders"}, `event 1 of 2 for the reader of a: .data`},
		{"silent", []string{right, "-wrong", "silent"}, `event 1 of 2 for the reader of a: context deadline exceeded`},
		{"crashes", []string{right, "-wrong", "crashes"}, `this client was told to crash`},
		{"chatters", []string{right, "-wrong", "chatters"}, `the client wrote a line that is no answer: got a chunk`},
		{"lingers", []string{right, "-wrong", "lingers"}, `the client did not end within`},
		{"nothing", nil, "no command"},
		{"not there", []string{filepath.Join(t.TempDir(), "nobody")}, "cannot be started"},
		{"no hello", []string{"echo", "hi"}, `first line of the client must be {"hello": 1, …}, not hi`},
		{"another time", []string{"echo", `{"hello": 2}`}, "speaks version 2"},
		{"impossible", []string{"echo", `{"hello": 1, "abilities": ["kill"]}`}, `not "kill"`},
		{"gone at once", []string{"echo", `{"hello": 1}`}, "open"},
		{"mute", []string{"true"}, "has closed its standard output"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o, play := conformance.ClientOptions{Command: c.command, End: time.Minute}, conformance.Options{}
			switch c.name { // these are found out by waiting for them
			case "silent":
				play.MaxWait = 20 * time.Second
			case "lingers":
				o.End = 3 * time.Second
			}
			target, err := conformance.StartClient(t.Context(), tr, &o)
			if err == nil {
				err = conformance.RunClient(t.Context(), tr, target, &play)
			}
			require.ErrorContains(t, err, c.message)
		})
	}
}

// A player that is interrupted does not wait for its client.
func TestClientProcessIsInterrupted(t *testing.T) {
	tr := durable(t)
	ctx, cancel := context.WithCancel(t.Context())
	target, err := conformance.StartClient(ctx, tr, &conformance.ClientOptions{Command: []string{build(t, clientUnderTest)}})
	require.NoError(t, err)
	cancel()
	require.ErrorContains(t, conformance.RunClient(ctx, tr, target, nil), "context canceled")
}
