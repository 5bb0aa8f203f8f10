package conformance_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/conformance/actions"
	"github.com/pay-theory/streamer/backend/streamer"
)

const folder = "../../contract/sessions"

func load(t *testing.T, side conformance.Side) []*conformance.Transcript {
	t.Helper()
	conformance.NeedContract(t)
	list, err := conformance.Load(os.DirFS(filepath.Join(folder, string(side))))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// The transcripts are well formed, and test who their directory says.
func TestTranscripts(t *testing.T) {
	for side, least := range map[conformance.Side]int{conformance.Server: 90, conformance.Client: 55} {
		list := load(t, side)
		if len(list) < least {
			t.Errorf("only %d transcripts for a %s", len(list), side)
		}
		for _, tr := range list {
			if tr.Tests != side {
				t.Errorf("%s tests a %s and lies with those for a %s", tr.Name, tr.Tests, side)
			}
		}
	}
}

// A file has one step a line, so that a change is one line of a diff, and a
// line that can be found.
func TestOneStepALine(t *testing.T) {
	conformance.NeedContract(t)
	files, err := filepath.Glob(folder + "/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, steps, ok := strings.Cut(string(data), "\n  \"steps\": [\n")
		steps, tail, ended := strings.Cut(steps, "\n  ]\n}\n")
		if !ok || !ended || tail != "" {
			t.Errorf("%s: the steps do not stand between their brackets, at the end", file)
			continue
		}
		for _, line := range strings.Split(steps, "\n") {
			step, ok := strings.CutPrefix(line, "    {")
			if !ok || !json.Valid([]byte("{"+strings.TrimSuffix(step, ","))) {
				t.Errorf("%s: no step of its own: %s", file, line)
			}
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
	if err != nil {
		t.Fatal(err)
	}
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
				action, ok := registry.Actions[msg.Action]
				if !ok {
					if tr.Name != "unknown-action" {
						t.Errorf("%s, step %d: there is no action %q", tr.Name, i+1, msg.Action)
					}
					continue
				}
				used[msg.Action] = true
				if _, err := action.Decode(msg.Payload); err != nil && tr.Name != "invalid-payload" {
					t.Errorf("%s, step %d: %v", tr.Name, i+1, err)
				}
			}
		}
	}
	for name := range registry.Actions {
		if !used[name] {
			t.Errorf("no transcript calls %q", name)
		}
	}
}

// Every verb and every matcher is used by some transcript, so that none of them
// is an ornament.
func TestEverythingIsUsed(t *testing.T) {
	var all strings.Builder
	conformance.NeedContract(t)
	files, err := filepath.Glob(folder + "/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	for _, word := range conformance.Words() {
		if !strings.Contains(all.String(), `"`+word+`"`) {
			t.Errorf("no transcript uses %q", word)
		}
	}
	readme, err := os.ReadFile(folder + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range conformance.Words() {
		if !strings.Contains(string(readme), "`"+word+"`") && !strings.Contains(string(readme), `"`+word+`"`) {
			t.Errorf("README.md says nothing of %q", word)
		}
	}
}
