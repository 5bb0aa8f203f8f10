package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serverFile wraps steps into a transcript for a server.
func serverFile(needs, steps string) string {
	return `{"tests": "server", "shows": "x", "covers": ["R-x"], "needs": [` + needs + `],
		"identities": {"alice": {"tenant": "acme", "subject": "alice"}}, "ids": {"call": 0},
		"steps": [` + steps + `]}`
}

func clientFile(needs, steps string) string {
	return `{"tests": "client", "shows": "x", "covers": ["R-x"], "needs": [` + needs + `], "tokens": ["first", "second"],
		"steps": [` + steps + `]}`
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ file, why string }{
		{`{`, "unexpected end"},
		{`{"tests": "server"} x`, "after top-level value"},
		{strings.Replace(serverFile("", `{"silenceMs": 1}`), `"server"`, `"both"`, 1), `tests must be "server" or "client"`},
		{strings.Replace(serverFile("", `{"silenceMs": 1}`), `"shows": "x"`, `"shows": ""`, 1), "shows and covers"},
		{strings.Replace(serverFile("", `{"silenceMs": 1}`), `"R-x"`, ``, 1), "shows and covers"},
		{strings.Replace(serverFile("", `{"silenceMs": 1}`), `"ids"`, `"id"`, 1), "unknown field"},
		{strings.Replace(serverFile("", `{"silenceMs": 1}`), `"call"`, `"any"`, 1), "meaning of its own"},
		{strings.Replace(serverFile("", `{"silenceMs": 1}`), `"subject"`, `"via": "pigeon", "subject"`, 1), `cannot bring a token via "pigeon"`},
		{clientFile("", `{"answer": {"type": "ping"}}`), "answer needs with"},
		{clientFile("", `{"refuse": {"status": 503}}`), `needs must name ["handshake"]`},
		{strings.Replace(serverFile("", `{"silenceMs": 1}`), `"ids"`, `"tokens": ["x"], "ids"`, 1), "tokens for clients"},
		{serverFile("", ``), "no steps"},
		{serverFile("", `7`), "a step is an object"},
		{serverFile("", `{}`), "without a verb"},
		{serverFile("", `{"note": "x"}`), "without a verb"},
		{serverFile("", `{"dance": 1}`), `"dance" is no verb`},
		{serverFile("", `{"send": {}, "expect": {}}`), "send and expect in one step"},
		{serverFile("", `{"send": {}, "withinMs": 5}`), "send has no withinMs"},
		{serverFile("", `{"expect": 7}`), "expect cannot take this"},
		{serverFile("", `{"expect": []}`), "expect cannot take this"},
		{serverFile("", `{"expect": {}, "ignoring": "progress"}`), "ignoring cannot be this"},
		{serverFile("", `{"silenceMs": -1}`), "silenceMs cannot take this"},
		{serverFile("", `{"lose": "everything"}`), "lose cannot take this"},
		{serverFile("", `{"connect": "mallory"}`), `there is no identity "mallory"`},
		{serverFile("", `{"start": "a", "request": {}}`), "no verb of a transcript for a server"},
		{serverFile("", `{"follow": "$call"}`), "follow needs events"},
		{serverFile("", `{"advanceMs": 1}`), `needs must name ["clock"]`},
		{serverFile("", `{"kill": "now"}`), `needs must name ["kill"]`},
		{serverFile(`"kill"`, `{"kill": "beforeTelling"}`), `needs must name ["telling"]`},
		{serverFile("", `{"connect": "alice", "refused": {}}`), `needs must name ["handshake"]`},
		{serverFile(`"kill"`, `{"silenceMs": 1}`), `no step needs ["kill"]`},
		{serverFile(`"nonsense"`, `{"silenceMs": 1}`), `no step needs ["nonsense"]`},
		{serverFile("", `{"expect": {"a": {"$nothing": 1}}}`), "there is no operator $nothing"},
		{serverFile("", `{"expect": {"a": [{"$any": "thing"}]}}`), "$any cannot take"},
		{serverFile("", `{"expect": {"a": {"$optional": {"$between": [1]}}}}`), "$between cannot take"},
		{serverFile("", `{"expect": {"a": {"$oneOf": []}}}`), "$oneOf cannot take"},
		{serverFile("", `{"expect": {"$times": [3, {"type": "pong"}]}}`), "$times cannot take"},
		{serverFile("", `{"send": {"a": {"$repeat": [1, 3]}}}`), "$repeat cannot take"},
		{serverFile("", `{"send": {"a": {"$raw": "{"}}}`), "$raw cannot take"},
		{serverFile("", `{"send": {"a": {"$plus": ["x", 1]}}}`), "$plus cannot take"},
		{clientFile("", `{"connect": "alice"}`), "no verb of a transcript for a client"},
		{clientFile("", `{"start": "a"}`), "start needs request"},
		{clientFile("", `{"take": "a"}`), "take needs events"},
		{clientFile("", `{"accept": "main", "on": "x"}`), "accept has no on"},
	} {
		_, err := Parse("example", []byte(c.file))
		if assert.ErrorContains(t, err, c.why, c.file) {
			assert.True(t, strings.HasPrefix(err.Error(), "transcript example: "), err)
		}
	}
}

func TestParseTakesWhatFramesNeed(t *testing.T) {
	parseFile(t, serverFile(`"frames"`, `{"silenceMs": 1}`))
	parseFile(t, serverFile(`"clock"`, `{"silenceMs": 1}`))
}

func TestLoad(t *testing.T) {
	good := &fstest.MapFile{Data: []byte(serverFile("", `{"silenceMs": 1}`))}
	list, err := Load(fstest.MapFS{"b.json": good, "a.json": good, "README.md": {Data: []byte("# x")}})
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, []string{"a", "b"}, []string{list[0].Name, list[1].Name})
	_, err = Load(fstest.MapFS{"README.md": good})
	require.Error(t, err, "a directory without transcripts passes for one")
	_, err = Load(fstest.MapFS{"bad.json": {Data: []byte("{}")}})
	require.ErrorContains(t, err, "bad")
}

// FuzzParse: no file makes Parse panic, and what it accepts keeps its promises.
func FuzzParse(f *testing.F) {
	NeedContract(f)
	files, err := filepath.Glob("../../contract/sessions/*/*.json")
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := Parse("fuzzed", data)
		if err != nil {
			return
		}
		require.NotEmpty(t, tr.Steps)
		require.NotEmpty(t, tr.Summary)
		for _, s := range tr.Steps {
			require.Contains(t, verbs, s.Verb)
			require.Contains(t, []Side{"", tr.Tests}, verbs[s.Verb].side, s.Verb)
		}
	})
}
