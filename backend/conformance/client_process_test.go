package conformance

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// playRobot plays steps against this test binary, which becomes a client.
func playRobot(t *testing.T, how, needs, steps string) error {
	t.Helper()
	tr, err := Parse("story", []byte(clientFile(needs, steps)))
	if err != nil {
		t.Fatal(err)
	}
	target, err := startRobot(t, how, tr, 0)
	if err != nil {
		return err
	}
	return RunClient(t.Context(), tr, target, nil)
}

func startRobot(t *testing.T, how string, tr *Transcript, wait time.Duration) (*ClientProcess, error) {
	t.Helper()
	t.Setenv(robotVariable, how)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return StartClient(t.Context(), tr, &ClientOptions{Command: []string{exe}, Wait: wait})
}

// The protocol for clients in a process of their own, and what breaks it.
func TestClientProcess(t *testing.T) {
	const accept = `{"accept": "main", "token": "first"}, `
	for name, c := range map[string]struct{ how, needs, steps, why string }{
		"a reader is handed events": {"well", "", accept + `{"attach": "a", "id": "x"}, {"send": {"n": 1}}, {"send": {"n": 2}}, {"take": "a", "events": [{"event": "chunk", "data": {"n": 1}}, {"event": "chunk", "data": {"n": 2}}]}`, ""},
		"a take is withdrawn":       {"well", "", accept + `{"takeNothing": "a", "forMs": 50}, {"send": {"n": 1}}, {"take": "a", "events": [{"event": "chunk", "data": {"n": 1}}]}`, ""},
		"nothing is taken between":  {"well", "", accept + `{"takeNothing": "a", "forMs": 50}, {"send": {"n": 1}}, {"silenceMs": 50}, {"send": {"n": 2}}, {"take": "a", "events": [{"event": "chunk", "data": {"n": 1}}]}, {"take": "a", "events": [{"event": "chunk", "data": {"n": 2}}]}`, ""},
		"something is taken":        {"well", "", accept + `{"send": {"n": 1}}, {"takeNothing": "a", "forMs": 60000}`, "should be handed nothing"},
		"a command is refused":      {"well", "", accept + `{"start": "a", "request": {"action": "echo"}}`, "cannot start: this one starts nothing"},
		"the clock is moved":        {"well", `"clock"`, accept + `{"advanceMs": 238000}, {"silenceMs": 20}, {"advanceMs": 2000}, {"silenceMs": 50}`, ""},
		"a ping is answered":        {"well", `"clock"`, accept + `{"advanceMs": 236000}, {"advanceMs": 4000}, {"take": "a", "events": [{"event": "chunk", "data": {"type": "pong"}}]}`, ""},
		"a take is given up":        {"impatient", "", accept + `{"take": "a", "events": [{"event": "chunk", "data": 1}]}`, "no event, though it was not withdrawn"},
		"it ends badly":             {"bad exit", "", accept + `{"silenceMs": 1}`, "exit status 1; its standard error ends with: robot: told to end badly"},
		"there is no clock to move": {"no clock", `"clock"`, accept + `{"advanceMs": 1000}`, "lacks clock"},
	} {
		t.Run(name, func(t *testing.T) { judge(t, playRobot(t, c.how, c.needs, c.steps), c.why) })
	}
}

// A client without a clock is waited for, where the transcript is short enough.
func TestClientIsWaitedFor(t *testing.T) {
	tr, err := Parse("story", []byte(clientFile(`"clock"`, `{"accept": "main"}, {"advanceMs": 20}`)))
	if err != nil {
		t.Fatal(err)
	}
	for wait, why := range map[time.Duration]string{20 * time.Millisecond: "", 19 * time.Millisecond: "lacks clock"} {
		target, err := startRobot(t, "no clock", tr, wait)
		if err != nil {
			t.Fatal(err)
		}
		judge(t, RunClient(t.Context(), tr, target, nil), why)
	}
}

// Where a client cannot be made to obey, starting it fails, and leaves no
// process behind.
func TestClientCannotBeStarted(t *testing.T) {
	tr, err := Parse("story", []byte(clientFile("", `{"noConnectMs": 1}`)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv(robotVariable, "late")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := StartClient(ctx, tr, &ClientOptions{Command: []string{exe}}); !errors.Is(err, context.Canceled) {
		t.Errorf("started, or %v", err)
	}
	_, err = StartClient(t.Context(), tr, &ClientOptions{})
	judge(t, err, "no command")
	_, err = StartClient(t.Context(), tr, &ClientOptions{Command: []string{"/nobody/is/here"}})
	judge(t, err, "cannot be started")
}

// What a client writes that is no line of the protocol is found.
func TestClientLines(t *testing.T) {
	for name, c := range map[string]struct{ out, why string }{
		"nothing":        {"", "has closed its standard output"},
		"no hello":       {"hi\n", "first line of the client must be"},
		"empty hello":    {"{}\n", "first line of the client must be"},
		"chatter":        {`{"hello": 1}` + "\nhello?\n", "a line that is no answer: hello?"},
		"unasked":        {`{"hello": 1}` + "\n" + `{"n": 7}` + "\n", "what it was not asked, or twice"},
		"a blank line":   {`{"hello": 1}` + "\n\n", "has closed its standard output"},
		"an endless one": {`{"hello": 1}` + "\n" + strings.Repeat("x", clientLine+1), "a line of more than"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLines(&strings.Builder{}, strings.NewReader(c.out))
			<-l.drained
			judge(t, l.end(), c.why)
		})
	}
}

// Only the end of what a client says is kept.
func TestTail(t *testing.T) {
	said := &tail{most: 10}
	for range 100 {
		_, _ = said.Write([]byte("abc\n"))
	}
	_, _ = said.Write([]byte("the end"))
	if got := said.String(); got != "bc the end" {
		t.Errorf("%q", got)
	}
}
