package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/servertest"
	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/e2e/application"
	"github.com/stretchr/testify/require"
)

// The clients' transcripts, played against the Go client in a bubble: sockets
// over pipes, and a clock that a story can move.
func TestClientTranscripts(t *testing.T) {
	all, known := clientTranscripts(t)
	require.GreaterOrEqual(t, len(all), 20)
	for _, tr := range all {
		t.Run(tr.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conformance.PlayClient(t, tr, newClientTarget(t, tr.Tokens), known)
			})
		})
	}
}

// clientTranscripts returns the clients' transcripts, and what the Go client is
// known to fail.
func clientTranscripts(t *testing.T) ([]*conformance.Transcript, conformance.KnownFailures) {
	t.Helper()
	all, err := conformance.Load(os.DirFS(filepath.Join(root, "contract", "sessions", "client")))
	require.NoError(t, err)
	known, err := conformance.ParseKnownFailures(knownFailures(t, "client-go"), all)
	require.NoError(t, err)
	return all, known
}

// knownFailures reads the list of what a target is known to fail.
func knownFailures(t *testing.T, target string) json.RawMessage {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "contract", "sessions", "known-failures.json"))
	require.NoError(t, err)
	var lists map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &lists))
	return lists[target]
}

// clientTarget is the Go client, with a server that the player plays.
type clientTarget struct {
	*application.Application
	*conformance.Listener
	web *http.Server
}

func newClientTarget(t *testing.T, tokens []string) *clientTarget {
	t.Helper()
	x := &clientTarget{Listener: conformance.NewListener()}
	l := servertest.NewListener()
	x.web = &http.Server{Handler: x.Listener}
	go func() { _ = x.web.Serve(l) }()
	app, err := application.New("ws://streamer.test", tokens, client.Options{DialContext: l.DialContext})
	require.NoError(t, err)
	x.Application = app
	return x
}

func (x *clientTarget) Abilities() []conformance.Ability {
	return []conformance.Ability{conformance.AbilityClock, conformance.AbilityHandshake}
}

func (x *clientTarget) Now() time.Time { return time.Now() }

func (x *clientTarget) Advance(_ context.Context, d time.Duration) error {
	time.Sleep(d) // fake
	synctest.Wait()
	return nil
}

func (x *clientTarget) Cancel(ctx context.Context, name string) error {
	err := x.Application.Cancel(ctx, name)
	synctest.Wait()
	return err
}

func (x *clientTarget) Close() error {
	return errors.Join(x.Application.Close(context.Background()), x.web.Close())
}
