package conformance

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"
	"time"
)

// Sent returns the messages that a step sends, with every name standing for an
// id.
func Sent(s Step) []json.RawMessage {
	if s.Verb != "send" {
		return nil
	}
	p := newScope(nil, time.Now)
	p.token = func(string) (string, error) { return "token", nil }
	var list []any
	switch arg := s.Arg.(type) {
	case []any:
		list = arg
	default:
		list = []any{arg}
	}
	var out []json.RawMessage
	for _, n := range list {
		o, ok := n.(object)
		if !ok {
			continue
		}
		// Names are bound while playing; here only what has none can be made.
		payload, _ := o.get("payload")
		made, err := p.expand(payload)
		if err != nil {
			continue
		}
		action, _ := o.get("action")
		kind, _ := o.get("type")
		m := object{{"type", kind}, {"action", action}}
		if payload != nil {
			m = append(m, member{"payload", made})
		}
		out = append(out, appendNode(nil, m))
	}
	return out
}

// Words returns all verbs, modifiers, operators and abilities.
func Words() []string {
	words := slices.AppendSeq([]string{"$absent", rest}, maps.Keys(operators))
	for _, table := range []map[string]verb{verbs, serverVerbs, clientVerbs} {
		words = slices.AppendSeq(words, maps.Keys(table))
	}
	words = slices.AppendSeq(words, maps.Keys(modifiers))
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
	if err != nil {
		tb.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		tb.Fatal(err)
	}
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
