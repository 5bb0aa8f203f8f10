package conformance

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// playProcess plays steps against this test binary, which becomes a client.
func playProcess(t *testing.T, how string, wait time.Duration, file string) error {
	t.Helper()
	tr := parseFile(t, file)
	target, err := startProcess(t.Context(), t, how, tr)
	if err != nil {
		return err
	}
	return RunClient(t.Context(), tr, target, &Options{Wait: wait})
}

func startProcess(ctx context.Context, t *testing.T, how string, tr *Transcript) (*ClientProcess, error) {
	t.Helper()
	t.Setenv(clientVariable, how)
	exe, err := os.Executable()
	require.NoError(t, err)
	return StartClient(ctx, tr, &ClientOptions{Command: []string{exe}})
}

// The protocol for clients in a process of their own, and what violates it.
func TestClientProcess(t *testing.T) {
	const accept = `{"accept": "main", "token": "first"}, `
	for name, c := range map[string]struct{ how, needs, steps, why string }{
		"a reader is handed events": {"well", "", accept + `{"attach": "a", "id": "x"}, {"send": {"n": 1}}, {"send": {"n": 2}}, {"take": "a", "events": [{"event": "chunk", "data": {"n": 1}}, {"event": "chunk", "data": {"n": 2}}]}`, ""},
		"a take is withdrawn":       {"well", "", accept + `{"takeNothing": "a", "forMs": 50}, {"send": {"n": 1}}, {"take": "a", "events": [{"event": "chunk", "data": {"n": 1}}]}`, ""},
		"nothing is taken between":  {"well", "", accept + `{"takeNothing": "a", "forMs": 50}, {"send": {"n": 1}}, {"silenceMs": 50}, {"send": {"n": 2}}, {"take": "a", "events": [{"event": "chunk", "data": {"n": 1}}]}, {"take": "a", "events": [{"event": "chunk", "data": {"n": 2}}]}`, ""},
		"something is taken":        {"well", "", accept + `{"send": {"n": 1}}, {"takeNothing": "a", "forMs": 60000}`, "should be handed nothing"},
		"a command is refused":      {"well", "", accept + `{"start": "a", "request": {"action": "echo"}}`, "cannot start: this one starts nothing"},
		"the clock is moved":        {"well", `"clock"`, accept + `{"advanceMs": 238000}, {"silenceMs": 20}, {"advanceMs": 2000}, {"silenceMs": 50}`, ""},
		"a ping is answered":        {"well", `"clock"`, accept + `{"send": {"n": 1}}, {"take": "a", "events": [{"event": "chunk", "data": {"n": 1}}]}, {"advanceMs": 236000}, {"advanceMs": 4000}, {"take": "a", "events": [{"event": "chunk", "data": {"type": "pong"}}]}`, ""},
		"a take is given up":        {"impatient", "", accept + `{"take": "a", "events": [{"event": "chunk", "data": 1}]}`, "no event, though it was not withdrawn"},
		"it ends badly":             {"bad exit", "", accept + `{"silenceMs": 1}`, "exit status 1; its standard error ends with: test client: told to end badly"},
		"there is no clock to move": {"no clock", `"clock"`, accept + `{"advanceMs": 1000}`, "lacks clock"},
	} {
		t.Run(name, func(t *testing.T) { checkFailure(t, playProcess(t, c.how, 0, clientFile(c.needs, c.steps)), c.why) })
	}
}

// A client without a clock is waited for, where the transcript is short enough.
func TestClientIsWaitedFor(t *testing.T) {
	for wait, why := range map[time.Duration]string{20 * time.Millisecond: "", 19 * time.Millisecond: "lacks clock"} {
		checkFailure(t, playProcess(t, "no clock", wait, clientFile(`"clock"`, `{"accept": "main"}, {"advanceMs": 20}`)), why)
	}
}

// Where a client cannot be made to obey, starting it fails, and leaves no
// process behind.
func TestClientCannotBeStarted(t *testing.T) {
	tr := parseFile(t, clientFile("", `{"noConnectMs": 1}`))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := startProcess(ctx, t, "late", tr)
	require.ErrorIs(t, err, context.Canceled)
	_, err = StartClient(t.Context(), tr, &ClientOptions{})
	checkFailure(t, err, "no command")
	_, err = StartClient(t.Context(), tr, &ClientOptions{Command: []string{"/nobody/is/here"}})
	checkFailure(t, err, "cannot be started")
}

// nullWriter takes all that is written.
type nullWriter struct{}

func (nullWriter) Write(b []byte) (int, error) { return len(b), nil }
func (nullWriter) Close() error                { return nil }

// What a client writes that is no line of the protocol is found.
func TestClientLines(t *testing.T) {
	for name, tc := range map[string]struct{ out, why string }{
		"nothing":        {"", "has closed its standard output"},
		"no hello":       {"hi\n", "first line of the client must be"},
		"empty hello":    {"{}\n", "first line of the client must be"},
		"chatter":        {`{"hello": 1}` + "\nhello?\n", "a line that is no answer: hello?"},
		"unasked":        {`{"hello": 1}` + "\n" + `{"n": 7}` + "\n", "what it was not asked, or twice"},
		"a blank line":   {`{"hello": 1}` + "\n\n", "has closed its standard output"},
		"an endless one": {`{"hello": 1}` + "\n" + strings.Repeat("x", clientLineLimit+1), "a line of more than"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &ClientProcess{input: nullWriter{}, lines: make(chan []byte, 9), stderr: &tail{}}
			c.readLines(strings.NewReader(tc.out))
			err := c.readHello(t.Context())
			if err == nil {
				err = c.execute(t.Context(), &command{Command: "open"})
			}
			checkFailure(t, err, tc.why)
		})
	}
}

// Only the end of what a client says is kept.
func TestTail(t *testing.T) {
	stderr := &tail{limit: 10}
	for range 100 {
		_, _ = stderr.Write([]byte("abc\n"))
	}
	_, _ = stderr.Write([]byte("the end"))
	require.Equal(t, "bc the end", stderr.String())
}
