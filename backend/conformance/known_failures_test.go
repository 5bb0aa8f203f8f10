package conformance

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pingPong is a transcript that a server passes which answers with pong.
func pingPong(t *testing.T) *Transcript {
	return parseFile(t, serverFile(`"clock"`, `{"connect": "alice"}, {"send": {"type": "ping"}}, {"expect": {"type": "pong"}, "withinMs": 5}`))
}

// A known failure is played: it may fail, and must not pass.
func TestKnownFailures(t *testing.T) {
	tr := pingPong(t)
	good, bad := replyWith(`{"type":"pong"}`), replyWith(`{"type":"ok","ref":"1"}`)
	listed := KnownFailures{"example": "it says ok"}
	for name, c := range map[string]struct {
		known           KnownFailures
		serve           func(*fakeConn, string)
		abilities       []Ability
		skipped, failed string
	}{
		"passes":                      {nil, good, everything, "", ""},
		"fails":                       {nil, bad, everything, "", "failed at step 3"},
		"another is listed":           {KnownFailures{"tale": "x"}, bad, everything, "", "failed at step 3"},
		"fails and is listed":         {listed, bad, everything, "KNOWN FAILURE (it says ok)", ""},
		"passes and is listed":        {listed, good, everything, "", "remove it from the list"},
		"is listed and is not played": {listed, good, nil, "NOT PLAYED", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newFakeServer(c.serve)
				server.abilities = c.abilities
				tb := &fakeTB{ctx: t.Context()}
				Play(tb, tr, server, c.known)
				tb.check(t, c.skipped, c.failed)
			})
		})
	}
}

// What is not a failure of the transcript is not a known failure.
func TestKnownFailuresAreFailures(t *testing.T) {
	broken := errors.New("the target broke")
	require.ErrorIs(t, KnownFailures{"example": "x"}.interpret(pingPong(t), broken), broken)
}

func TestParseKnownFailures(t *testing.T) {
	list := []*Transcript{pingPong(t)}
	known, err := ParseKnownFailures([]byte(`{"example": "it says ok"}`), list)
	require.NoError(t, err)
	require.Equal(t, "it says ok", known["example"])
	for file, why := range map[string]string{
		`[]`:                  "one JSON object of transcripts and reasons",
		`{"example": 1}`:      "one JSON object of transcripts and reasons",
		`{"tale": "x"}`:       `no transcript "tale"`,
		`{"example": " "}`:    "has no reason",
		`{"example": "x"} {}`: "one JSON object",
	} {
		_, err := ParseKnownFailures([]byte(file), list)
		assert.ErrorContains(t, err, why, file)
	}
}
