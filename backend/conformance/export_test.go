package conformance

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Sent returns the messages that a step sends, as far as that is known before
// it is played: with type, action and payload.
func Sent(s Step) (out []json.RawMessage) {
	if s.Verb != "send" {
		return nil
	}
	b := newBindings(nil, time.Now)
	b.token = func(string) (string, error) { return "token", nil }
	list := []json.RawMessage{s.Arg}
	if kindOf(s.Arg) == "array" {
		list = elements(s.Arg)
	}
	for _, n := range list {
		var m []member
		for _, f := range members(n) {
			value, err := b.expand(f.value)
			switch {
			case f.key != "type" && f.key != "action" && f.key != "payload":
			case err == nil:
				m = append(m, member{f.key, value})
			case f.key == "payload":
				m = nil // names are bound only when it is played
			}
		}
		out = append(out, encodeObject(m))
	}
	return out
}

// Member is a field of an object.
type Member struct {
	Key   string
	Value json.RawMessage
}

// Members returns an object's fields, duplicates included.
func Members(object json.RawMessage) (out []Member) {
	for _, m := range members(object) {
		out = append(out, Member{m.key, m.value})
	}
	return out
}

// Words returns all verbs, modifiers, operators and abilities.
func Words() []string {
	words := slices.Concat([]string{"$absent", rest}, slices.Collect(maps.Keys(operators)), slices.Collect(maps.Keys(verbs)), slices.Collect(maps.Keys(modifiers)))
	for _, a := range everything {
		words = append(words, string(a))
	}
	slices.Sort(words)
	return words
}

// KnownOf reads the repository's list of what a target is known to fail.
func KnownOf(tb testing.TB, target string, transcripts []*Transcript) KnownFailures {
	tb.Helper()
	data, err := os.ReadFile("../../contract/sessions/known-failures.json")
	require.NoError(tb, err)
	var all map[string]json.RawMessage
	require.NoError(tb, json.Unmarshal(data, &all))
	known, err := ParseKnownFailures(all[target], transcripts)
	if err != nil {
		tb.Fatalf("known-failures.json, %s: %v", target, err)
	}
	return known
}

// NeedContract skips a test of the transcripts where the module stands alone,
// without the repository around it.
func NeedContract(tb testing.TB) {
	tb.Helper()
	if _, err := os.Stat("../../go.work"); err != nil {
		tb.Skip("SKIPPED: this module stands alone; the transcripts are in the repository's contract/sessions")
	}
}
