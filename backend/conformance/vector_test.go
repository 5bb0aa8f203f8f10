package conformance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const contract = "../../contract"

// vectors reads those of the repository.
func vectors(t testing.TB) []*conformance.Vector {
	t.Helper()
	conformance.NeedContract(t)
	list, err := conformance.LoadVectors(os.DirFS(filepath.Join(contract, "vectors")))
	require.NoError(t, err)
	return list
}

// The vectors must not become fewer unnoticed: documents name these numbers.
func TestVectorCounts(t *testing.T) {
	count, by := map[string]int{}, map[conformance.Detector]int{}
	for _, v := range vectors(t) {
		count[fmt.Sprintf("%s, valid: %t", v.From, v.Valid)]++
		by[v.By]++
	}
	for what, least := range map[string]int{
		"client, valid: true": 100, "client, valid: false": 300, "server, valid: true": 40, "server, valid: false": 150,
	} {
		assert.GreaterOrEqual(t, count[what], least, what)
	}
	for _, detector := range []conformance.Detector{conformance.BySchema, conformance.ByRule, conformance.ByGrammar} {
		assert.GreaterOrEqual(t, by[detector], 30, "refused by the %s alone", detector)
	}
}

// Of every vector schema.json says the same: it allows the valid ones, and refuses
// the others with the code, and by the judge, that they name.
func TestVectorsAndSchemaAgree(t *testing.T) {
	o := newOracle(t)
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			found := o.firstDefect(v)
			if v.Valid {
				require.Nil(t, found, "it is valid, and the schema refuses it")
				return
			}
			require.NotNil(t, found, "it is invalid, and the schema allows it")
			assert.Equal(t, v.By, found.by, found)
			if v.From == conformance.Client && v.Close == 0 {
				assert.Equal(t, v.Code, found.code, found)
				if found.index >= 0 && v.Index != nil {
					assert.Equal(t, *v.Index, found.index, found)
				}
			}
		})
	}
}

// vectorServer is a real server over TCP.
func vectorServer(t *testing.T) *embedded {
	target := newEmbedded(t, place{}, conformance.Settings{})
	t.Cleanup(func() { assert.NoError(t, target.Close()) })
	return target
}

// Every client's vector, sent to a real server, gets what it says. And whatever
// that server answers is valid itself.
func TestServerAnswersVectors(t *testing.T) {
	list, o, target := vectors(t), newOracle(t), vectorServer(t)
	played := 0
	for _, v := range list {
		if v.From != conformance.Client {
			continue
		}
		played++
		t.Run(v.Name, func(t *testing.T) {
			onFrame := func(frame []byte) {
				assert.Nil(t, o.serverFrame(frame), "the schema does not allow what the server said: %s", frame)
			}
			require.NoError(t, conformance.RunVector(t.Context(), v, observed{target, onFrame}))
		})
	}
	assert.GreaterOrEqual(t, played, 400)
}

// A vector that says something else than what comes fails: otherwise the test
// above would show nothing.
func TestWrongVectorsAreFound(t *testing.T) {
	target := vectorServer(t)
	invalid := func(frame, code, field string, index, closing int) conformance.Vector {
		v := conformance.Vector{From: conformance.Client, Frame: []byte(frame), Code: code, Field: field, Close: closing}
		if index >= 0 {
			v.Index = &index
		}
		return v
	}
	const colour = `[{"type":"ping"},{"type":"list","ref":"1","colour":1}]`
	tooBig := strings.Repeat(" ", 40000)
	another := invalid(colour, "invalid_message", "colour", 1, 0)
	another.Ref = "2"
	for name, tc := range map[string]struct {
		v    conformance.Vector
		want string
	}{
		"right":      {invalid(colour, "invalid_message", "colour", 1, 0), ""},
		"code":       {invalid(colour, "malformed", "colour", 1, 0), `not "malformed"`},
		"field":      {invalid(colour, "invalid_message", "ref", 1, 0), `the field is "colour"`},
		"index":      {invalid(colour, "invalid_message", "colour", 0, 0), "the index (-1: none) is 1, not 0"},
		"no index":   {invalid(colour, "invalid_message", "colour", -1, 0), "the index (-1: none) is 1, not -1"},
		"ref":        {another, `the ref is "1"`},
		"two errors": {invalid(`[{"x":1},{"x":1}]`, "invalid_message", "x", 0, 0), "a second error"},
		"no close":   {invalid(tooBig, "malformed", "", -1, 0), "closed with 1009"},
		"close":      {invalid(tooBig, "", "", -1, 1008), "closed with 1009, not 1008"},
		"valid":      {conformance.Vector{From: conformance.Client, Frame: []byte(colour), Valid: true}, "a valid frame was refused"},
		"a server's": {conformance.Vector{From: conformance.Server, Frame: []byte(colour)}, "of a server's"},
	} {
		t.Run(name, func(t *testing.T) {
			err := conformance.RunVector(t.Context(), &tc.v, target)
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestVectorsAreReadStrictly(t *testing.T) {
	file := func(direction, vector string) string {
		return `{"direction":"` + direction + `","vectors":[` + vector + `]}`
	}
	for name, tc := range map[string]struct{ path, text, want string }{
		"no direction":      {"valid/a.json", file("", `{"name":"a","frame":""}`), "direction"},
		"unknown field":     {"valid/a.json", file("client", `{"name":"a","frame":"","colour":1}`), "colour"},
		"no name":           {"valid/a.json", file("client", `{"frame":""}`), "has a name"},
		"no frame":          {"valid/a.json", file("client", `{"name":"a"}`), "a frame, or parts"},
		"two frames":        {"valid/a.json", file("client", `{"name":"a","frame":"","parts":[]}`), "a frame, or parts"},
		"valid, refused":    {"valid/a.json", file("client", `{"name":"a","frame":"","code":"malformed"}`), "not refused"},
		"invalid, accepted": {"invalid/a.json", file("client", `{"name":"a","frame":""}`), "gets a code"},
		"both":              {"invalid/a.json", file("client", `{"name":"a","frame":"","code":"malformed","close":1009}`), "gets a code"},
		"another judge":     {"invalid/a.json", file("client", `{"name":"a","frame":"","code":"malformed","by":"me"}`), "there is no judge"},
		"types of a client": {"valid/a.json", file("client", `{"name":"a","frame":"","types":["ack"]}`), "a server's"},
		"no types":          {"valid/a.json", file("server", `{"name":"a","frame":""}`), "has types"},
		"bad part":          {"valid/a.json", file("client", `{"name":"a","parts":[{"repeat":["x"]}]}`), "a part is"},
		"endless part":      {"valid/a.json", file("client", `{"name":"a","parts":[{"repeat":["x",1000000000]}]}`), "a part is"},
		"unknown part":      {"valid/a.json", file("client", `{"name":"a","parts":[{"base64":"eA=="}]}`), "base64"},
		"bad hex":           {"valid/a.json", file("client", `{"name":"a","parts":[{"hex":"f"}]}`), "odd length"},
		"no JSON":           {"valid/a.json", `{`, "unexpected EOF"},
		"no vectors":        {"other/a.json", `{}`, "there are no vectors"},
		"one name twice":    {"valid/a.json", file("client", `{"name":"a","frame":""},{"name":"a","frame":""}`), "too"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := conformance.LoadVectors(fstest.MapFS{tc.path: {Data: []byte(tc.text)}})
			require.ErrorContains(t, err, tc.want)
		})
	}
	list, err := conformance.LoadVectors(fstest.MapFS{"invalid/a.json": {Data: []byte(
		file("client", `{"name":"a","parts":["a",{"repeat":["xy",3]},{"hex":"ff00"}],"code":"malformed","by":"grammar","index":2}`))}})
	require.NoError(t, err)
	index := 2
	require.Equal(t, &conformance.Vector{
		Name: "a", From: conformance.Client, Frame: []byte("axyxyxy\xff\x00"), By: conformance.ByGrammar, Code: "malformed", Index: &index,
	}, list[0])
}
