package e2e

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/require"
)

// The server that is attacked is a process of its own, so that its memory can
// be distinguished from the attackers': this test binary, started again for one test,
// with this variable set.
const attackedVariable = "STREAMER_E2E_ATTACKED"

type attackedSettings struct {
	Data string
	Log  string
	// PublicKey verifies RS256.
	PublicKey *rsa.PublicKey
}

// Limits of the attacked server: those that would take thousands of sockets to
// reach are lower than by default, all others are the defaults.
const (
	attackedConnections = 400
	attackedHandshakes  = 64
	attackedStreams     = 300
	attackedInline      = 1_000
	attackedHandshake   = 5 * time.Second
)

// attackSecret signs HS256 tokens, under the key id "hs"; the RSA key has the
// id "rs".
const attackSecret = "another secret of thirty-two bytes or more"

// TestAttackedServer is the server, and nothing when the tests run: it serves
// until its standard input ends, shuts down in good order, and fails if
// goroutines are left, for the leak check of this package is about it, too.
func TestAttackedServer(t *testing.T) {
	text := os.Getenv(attackedVariable)
	if text == "" {
		t.Skip("the server that TestAttack starts")
	}
	var o attackedSettings
	require.NoError(t, json.Unmarshal([]byte(text), &o))
	log, err := os.OpenFile(o.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer func() { require.NoError(t, log.Close()) }()
	jwt, err := auth.NewJWT(&auth.JWTOptions{
		Keys: []auth.Key{{ID: "hs", Key: []byte(attackSecret)}, {ID: "rs", Key: o.PublicKey}}, Issuer: "us", Audience: []string{"streamer"},
	})
	require.NoError(t, err)
	s, err := server.New(attackedRouter(), &server.Options{
		Data: o.Data, Auth: jwt, Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		MaxConnections: attackedConnections, MaxHandshakes: attackedHandshakes, HandshakeTimeout: attackedHandshake,
		MaxStreams: attackedStreams, MaxInline: attackedInline, Grace: time.Second,
	})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	fmt.Printf("ready %s\n", l.Addr())
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	require.NoError(t, s.Serve(ctx, l))
}

type attackedInput struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

func attackedRouter() *streamer.Router {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "echo", func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil })
	streamer.Handle(r, "big", func(_ context.Context, size int) (string, error) { return strings.Repeat("x", min(size, 97_000)), nil })
	streamer.Handle(r, "later", func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil }, streamer.Async())
	streamer.Handle(r, "wait", func(ctx context.Context, _ json.RawMessage) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
	streamer.Handle(r, "fail", func(_ context.Context, in json.RawMessage) (string, error) {
		return "", fmt.Errorf("line one\nlevel=ERROR msg=forged %d", len(in))
	})
	streamer.Handle(r, "typed", func(_ context.Context, in attackedInput) (string, error) { return in.Name, nil })
	streamer.Handle(r, "guarded", func(context.Context, json.RawMessage) (string, error) { return "in", nil }, streamer.RequireScope("admin"))
	return r
}

// attacked is the server's process.
type attacked struct {
	*process
	address string
	log     string
	stdin   io.Closer
	key     *rsa.PrivateKey // signs RS256
}

func startAttacked(t *testing.T) *attacked {
	t.Helper()
	s := &attacked{log: filepath.Join(t.TempDir(), "log")}
	var err error
	s.key, err = rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	settings := encode(attackedSettings{Data: filepath.Join(t.TempDir(), "streamer.db"), Log: s.log, PublicKey: &s.key.PublicKey})
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-test.run=^TestAttackedServer$", "-test.timeout=45m")
	// What the server holds is measured, so garbage is collected early.
	cmd.Env = append(os.Environ(), attackedVariable+"="+settings, "GOGC=25")
	s.stdin, err = cmd.StdinPipe()
	require.NoError(t, err)
	s.process, s.address = startProcess(t, `ready (\S+)\n`, cmd)
	return s
}

// stop ends the server in good order. It must have lost no goroutine, and what
// the race detector found, if it watched, fails it, too.
func (s *attacked) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, s.stdin.Close())
	s.requireEnd(t)
}

func (s *attacked) open(token string, lines ...string) (*rawSocket, error) {
	return openSocket(s.address, token, lines...)
}

// memory is the process's resident set in bytes; 0 where that is not known.
func (s *attacked) memory() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.Process.Pid))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
