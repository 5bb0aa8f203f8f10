package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The server that is killed is this test binary, started again with this
// variable set: a process of its own, with a file and a journal of its own.
const victimVariable = "STREAMER_E2E_VICTIM"

// Everybody in these tests knows this secret.
const secret = "a secret of thirty-two bytes, at least"

// victimSettings are what the victim is started with.
type victimSettings struct {
	Data    string
	Address string
	Journal string
	Workers int
}

func TestMain(m *testing.M) {
	if text := os.Getenv(victimVariable); text != "" {
		if err := beVictim(text); err != nil {
			fmt.Fprintln(os.Stderr, "victim:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// beVictim serves until it is killed.
func beVictim(text string) error {
	var o victimSettings
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	journal, err := os.OpenFile(o.Journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	jwt, err := auth.NewJWT(&auth.JWTOptions{Keys: []auth.Key{{Key: []byte(secret)}}})
	if err != nil {
		return err
	}
	s, err := server.New(victimRouter(journal), &server.Options{
		Data: o.Data, Address: o.Address, Auth: jwt, Workers: o.Workers, ReconnectWithin: 50 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return s.Run(context.Background())
}

// jobParams say what a job does; they are all that its outcome depends on.
type jobParams struct {
	// Chunks are emitted, 0 to Chunks-1, one every PaceMicros.
	Chunks     int `json:"chunks"`
	PaceMicros int `json:"paceMicros"`
	// CheckpointEvery makes a checkpoint after so many chunks; 0: none.
	CheckpointEvery int `json:"checkpointEvery"`
	// FailAt fails the first attempt to reach that chunk; -1: none does.
	FailAt int `json:"failAt"`
}

// entry is a line of the journal: what a handler did, seen from inside.
type entry struct {
	PID     int    `json:"pid"`
	ID      string `json:"id"`
	Attempt int    `json:"attempt"`
	What    string `json:"what"`
}

func victimRouter(journal *os.File) *streamer.Router {
	r := streamer.NewRouter(nil)
	note := func(ctx context.Context, what string) {
		info := streamer.Info(ctx)
		line, _ := json.Marshal(entry{os.Getpid(), info.ID, info.Attempt, what})
		// One write of a short line to a file opened for appending is whole.
		if _, err := journal.Write(append(line, '\n')); err != nil {
			panic(err)
		}
	}
	streamer.HandleStream(r, "job", func(ctx context.Context, in jobParams, call *streamer.Call[int]) (int, error) {
		note(ctx, "begin")
		defer note(ctx, "return")
		from := 0
		if _, err := call.Resume(&from); err != nil {
			return 0, err
		}
		for i := from; i < in.Chunks; i++ {
			if i == in.FailAt && streamer.Info(ctx).Attempt == 1 {
				return 0, fmt.Errorf("attempt 1 fails at chunk %d", i)
			}
			call.Emit(i)
			call.Progress(100*float64(i+1)/float64(in.Chunks), "")
			if in.CheckpointEvery > 0 && (i+1)%in.CheckpointEvery == 0 {
				call.Checkpoint(i + 1)
			}
			select {
			case <-time.After(time.Duration(in.PaceMicros) * time.Microsecond):
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		return in.Chunks, nil
	}, streamer.Async(), streamer.Retry(3, streamer.Backoff{Base: 5 * time.Millisecond, Max: 20 * time.Millisecond}))
	streamer.Handle(r, "echo", func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil })
	return r
}

// victim is a running server process.
type victim struct {
	cmd *exec.Cmd
	out io.Closer
}

// startVictim starts a server, under a command of its own if one is named, and
// waits until it is ready.
func startVictim(t *testing.T, o victimSettings, under ...string) *victim {
	t.Helper()
	text, err := json.Marshal(o)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	args := append(under, self)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), victimVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	// Should the tests die, so does the victim.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	v := &victim{cmd, out}
	t.Cleanup(v.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "the server did not come up")
	require.Equal(t, "ready", strings.TrimSpace(line))
	return v
}

// kill ends the process, and all that it started, with SIGKILL.
func (v *victim) kill() {
	if v.cmd.ProcessState == nil {
		_ = syscall.Kill(-v.cmd.Process.Pid, syscall.SIGKILL)
		_ = v.cmd.Wait()
	}
}

// token returns a token for the victim.
func token(t *testing.T, tenant, subject string) string {
	t.Helper()
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{Secret: []byte(secret)})
	require.NoError(t, err)
	text, err := issuer.Mint(auth.Grant{Tenant: tenant, Subject: subject})
	require.NoError(t, err)
	return text
}
