package conformance_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/conformance/actions"
	"github.com/pay-theory/streamer/backend/conformance/sessions"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// transcriptsOf returns the files of a side's transcripts, which are the same as
// those in contract/sessions.
func transcriptsOf(side conformance.Side) fs.FS {
	if side == conformance.Client {
		return sessions.Client()
	}
	return sessions.Server()
}

func load(t *testing.T, side conformance.Side) []*conformance.Transcript {
	t.Helper()
	list, err := conformance.Load(transcriptsOf(side))
	require.NoError(t, err)
	return list
}

// transcriptTexts returns the texts of all transcripts, by side and file.
func transcriptTexts(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, side := range []conformance.Side{conformance.Server, conformance.Client} {
		files, err := fs.Glob(transcriptsOf(side), "*.json")
		require.NoError(t, err)
		for _, file := range files {
			data, err := fs.ReadFile(transcriptsOf(side), file)
			require.NoError(t, err)
			out[string(side)+"/"+file] = string(data)
		}
	}
	return out
}

// The transcripts are well formed, and test who their directory says.
func TestTranscripts(t *testing.T) {
	for side, least := range map[conformance.Side]int{conformance.Server: 90, conformance.Client: 55} {
		list := load(t, side)
		assert.GreaterOrEqual(t, len(list), least, side)
		for _, tr := range list {
			assert.Equal(t, side, tr.Tests, tr.Name)
		}
	}
}

// A file has one step a line, so that a change is one line of a diff, and a
// line that can be found.
func TestOneStepALine(t *testing.T) {
	for file, text := range transcriptTexts(t) {
		_, steps, ok := strings.Cut(text, "\n  \"steps\": [\n")
		steps, tail, ended := strings.Cut(steps, "\n  ]\n}\n")
		require.True(t, ok && ended && tail == "", "%s: the steps do not stand between their brackets, at the end", file)
		for line := range strings.SplitSeq(steps, "\n") {
			step, ok := strings.CutPrefix(line, "    {")
			assert.True(t, ok && json.Valid([]byte("{"+strings.TrimSuffix(step, ","))), "%s: no step of its own: %s", file, line)
		}
	}
}

// Every request of the transcripts for servers is for an action that there is,
// with a payload that its schema takes, unless the transcript is about that.
func TestActionsOfTranscripts(t *testing.T) {
	r := streamer.NewRouter(nil)
	actions.Register(r)
	new(gates).register(r)
	registry, err := r.Build()
	require.NoError(t, err)
	used := map[string]bool{}
	for _, tr := range load(t, conformance.Server) {
		for i, s := range tr.Steps {
			for _, m := range conformance.Sent(s) {
				var msg struct {
					Type, Action string
					Payload      json.RawMessage
				}
				if json.Unmarshal(m, &msg) != nil || msg.Type != "request" {
					continue
				}
				used[msg.Action] = true
				action, ok := registry.Actions[msg.Action]
				if !ok {
					assert.Equal(t, "unknown-action", tr.Name, "step %d: there is no action %q", i+1, msg.Action)
					continue
				}
				if _, err := action.Decode(msg.Payload); tr.Name != "invalid-payload" {
					assert.NoError(t, err, "%s, step %d", tr.Name, i+1)
				}
			}
		}
	}
	for name := range registry.Actions {
		assert.True(t, used[name], "no transcript calls %q", name)
	}
}

// Every verb and every matcher is used by some transcript, so that none of them
// is an ornament, and README.md explains it.
func TestEverythingIsUsed(t *testing.T) {
	conformance.NeedContract(t)
	readme, err := os.ReadFile(filepath.Join(contract, "sessions/README.md"))
	require.NoError(t, err)
	var all strings.Builder
	for _, text := range transcriptTexts(t) {
		all.WriteString(text)
	}
	for _, word := range conformance.Words() {
		quoted := `"` + word + `"`
		assert.True(t, strings.Contains(all.String(), quoted), "no transcript uses %q", word)
		explained := strings.Contains(string(readme), "`"+word+"`") || strings.Contains(string(readme), quoted)
		assert.True(t, explained, "README.md says nothing of %q", word)
	}
}
