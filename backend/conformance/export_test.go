package conformance

import (
	"encoding/json"
	"iter"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// MessagesOf returns a batch's elements, or the one message.
func MessagesOf(frame []byte) []json.RawMessage { return messagesOf(frame) }

// Sent returns the messages that a step sends, as far as that is known before
// it is played: with type, action and payload.
func Sent(s Step) (out []json.RawMessage) {
	if s.Verb != "send" {
		return nil
	}
	b := newBindings(nil, time.Now)
	b.token = func(string) (string, error) { return "token", nil }
	for _, message := range messagesOf(s.Arg) {
		var known []member
		for _, m := range members(message) {
			value, err := b.expand(m.value)
			switch {
			case m.key != "type" && m.key != "action" && m.key != "payload":
			case err == nil:
				known = append(known, member{m.key, value})
			case m.key == "payload":
				known = nil // names are bound only when it is played
			}
		}
		out = append(out, encodeObject(known))
	}
	return out
}

// Members returns an object's fields, duplicates included.
func Members(object json.RawMessage) iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		for _, m := range members(object) {
			if !yield(m.key, m.value) {
				return
			}
		}
	}
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
	require.NoError(tb, err, "known-failures.json, %s", target)
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
