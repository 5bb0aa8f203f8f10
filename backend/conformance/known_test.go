package conformance

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

// story is a transcript that a server passes which answers with pong.
func story(t *testing.T) *Transcript {
	t.Helper()
	tr, err := Parse("story", []byte(serverFile(`"clock"`, `{"connect": "alice"}, {"send": {"type": "ping"}}, {"expect": {"type": "pong"}, "withinMs": 5}`)))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// A known failure is played: it may fail, and must not pass.
func TestKnownFailures(t *testing.T) {
	tr := story(t)
	good, bad := say(`{"type":"pong"}`), say(`{"type":"ok","ref":"1"}`)
	listed := KnownFailures{"story": "it says ok"}
	for name, c := range map[string]struct {
		known         KnownFailures
		serve         func(*fakeConn, string)
		abilities     []Ability
		skips, failed string
	}{
		"passes":                      {nil, good, everything, "", ""},
		"fails":                       {nil, bad, everything, "", "failed at step 3"},
		"another is listed":           {KnownFailures{"tale": "x"}, bad, everything, "", "failed at step 3"},
		"fails and is listed":         {listed, bad, everything, "KNOWN FAILURE (it says ok)", ""},
		"passes and is listed":        {listed, good, everything, "", "take it off the list"},
		"is listed and is not played": {listed, good, nil, "NOT PLAYED", ""},
	} {
		t.Run(name, func(t *testing.T) {
			tb := &fakeTB{ctx: t.Context()}
			synctest.Test(t, func(t *testing.T) {
				server := newFakeServer(c.serve)
				server.abilities = c.abilities
				tb.ctx = t.Context()
				Play(tb, tr, server, c.known)
			})
			if !strings.Contains(tb.failed, c.failed) || (c.failed == "") != (tb.failures_ == 0) {
				t.Errorf("failed with %q", tb.failed)
			}
			if !strings.Contains(tb.skipped, c.skips) || (c.skips == "") != (tb.skips == 0) {
				t.Errorf("skipped with %q", tb.skipped)
			}
		})
	}
}

// What is no failure of the transcript is nobody's known failure.
func TestKnownFailuresAreFailures(t *testing.T) {
	broken := errors.New("the target broke")
	if err := (KnownFailures{"story": "x"}).Judge(story(t), broken); !errors.Is(err, broken) {
		t.Errorf("judged as %v", err)
	}
}

func TestParseKnownFailures(t *testing.T) {
	list := []*Transcript{story(t)}
	known, err := ParseKnownFailures([]byte(`{"story": "it says ok"}`), list)
	if err != nil || known["story"] != "it says ok" {
		t.Errorf("%v, %v", known, err)
	}
	for file, why := range map[string]string{
		`[]`:                "a JSON object of transcripts and reasons",
		`{"story": 1}`:      "a JSON object of transcripts and reasons",
		`{"tale": "x"}`:     `no transcript "tale"`,
		`{"story": " "}`:    "has no reason",
		`{"story": "x"} {}`: "nothing behind it",
	} {
		if _, err := ParseKnownFailures([]byte(file), list); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, expected %q", file, err, why)
		}
	}
}
